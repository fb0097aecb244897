using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Testing;

/// <summary>A delivery as it came.</summary>
public sealed record ReceivedDelivery(string Id, JsonElement Body, byte[] Raw, int Signatures);

/// <summary>The site's end of deliveries: checks each signature, answers as a test says, and notes what
/// came.</summary>
public sealed class DeliveryReceiver : IDisposable
{
    public const string Secret = "whsec_plJ3nmyCDGBKInavdOK15jsl";

    private readonly List<ReceivedDelivery> _all = [];
    private readonly List<ReceivedDelivery> _accepted = [];
    private readonly Dictionary<string, int> _times = [];
    private readonly ConcurrentDictionary<string, int> _open = new();
    private readonly int _port;
    private HttpListener? _listener;

    public DeliveryReceiver(bool isUp = true)
    {
        _port = DaemonProcess.FreePort();
        if (isUp)
            Up();
    }

    public Uri Url => new($"http://127.0.0.1:{_port}/deliver");

    /// <summary>The status of an answer, by the delivery and how often it has come, from 1.</summary>
    public Func<ReceivedDelivery, int, int> Status { get; set; } = (_, _) => 204;

    /// <summary>Runs before the answer.</summary>
    public Func<ReceivedDelivery, HttpListenerResponse, Task> BeforeAnswer { get; set; } =
        (_, _) => Task.CompletedTask;

    public string Key { get; set; } = Secret;

    /// <summary>Deliveries with an answer of 2xx, in their order, repeats included.</summary>
    public IReadOnlyList<ReceivedDelivery> Accepted
    {
        get
        {
            lock (_all)
                return [.. _accepted];
        }
    }

    /// <summary>Requests that came with a good signature.</summary>
    public int Requests
    {
        get
        {
            lock (_all)
                return _all.Count;
        }
    }

    /// <summary>Everything that came with a good signature, in its order.</summary>
    public IReadOnlyList<ReceivedDelivery> All
    {
        get
        {
            lock (_all)
                return [.. _all];
        }
    }

    /// <summary>What was wrong with requests.</summary>
    public ConcurrentQueue<string> Complaints { get; } = new();

    /// <summary>Most requests of one delivery at a time.</summary>
    public int MostAtOnce { get; private set; }

    public void Up()
    {
        _listener = new HttpListener();
        _listener.Prefixes.Add($"http://127.0.0.1:{_port}/");
        _listener.Start();
        _ = ServeAsync(_listener);
    }

    public void Down()
    {
        _listener?.Close();
        _listener = null;
    }

    public void Dispose() => Down();

    /// <summary>Waits for that many accepted deliveries, and returns them.</summary>
    public async Task<IReadOnlyList<ReceivedDelivery>> AcceptedAsync(int count)
    {
        await Eventually.TrueAsync(() => Accepted.Count >= count);
        Assert();
        return Accepted;
    }

    /// <summary>The bodies of accepted deliveries.</summary>
    public async Task<IReadOnlyList<JsonElement>> BodiesAsync(int count) =>
        [.. (await AcceptedAsync(count)).Select(delivery => delivery.Body)];

    private void Assert()
    {
        if (Complaints.TryPeek(out var complaint))
            throw new InvalidOperationException(complaint);
    }

    private async Task ServeAsync(HttpListener listener)
    {
        while (listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }

            _ = Task.Run(() => AnswerAsync(context));
        }
    }

    private async Task AnswerAsync(HttpListenerContext context)
    {
        try
        {
            using var buffer = new MemoryStream();
            await context.Request.InputStream.CopyToAsync(buffer);
            context.Response.StatusCode = await JudgeAsync(context, buffer.ToArray());
            context.Response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or IOException
            or InvalidOperationException)
        {
            // The daemon, or this receiver, went away.
        }
    }

    private async Task<int> JudgeAsync(HttpListenerContext context, byte[] body)
    {
        var headers = context.Request.Headers;
        var (id, timestamp) = (headers["webhook-id"] ?? "", headers["webhook-timestamp"] ?? "");
        // Several, if the sender's secret changes.
        var signatures = (headers["webhook-signature"] ?? "").Split(' ');
        if (!signatures.Contains(Sign(id, timestamp, body)))
            return 401;
        var age = DateTimeOffset.UtcNow.ToUnixTimeSeconds() - long.Parse(timestamp);
        if (Math.Abs(age) > 60 || context.Request.ContentType != "application/json" || context.Request.HttpMethod != "POST")
            Complaints.Enqueue($"{context.Request.HttpMethod} {context.Request.ContentType}, {age} s old");
        var delivery = new ReceivedDelivery(id, JsonDocument.Parse(body).RootElement, body, signatures.Length);
        if (delivery.Body.GetProperty("id").GetString() != id)
            Complaints.Enqueue($"{id} is not the id of the body");
        int times;
        lock (_all)
        {
            _all.Add(delivery);
            times = _times[id] = _times.GetValueOrDefault(id) + 1;
        }

        var atOnce = _open.AddOrUpdate(id, 1, (_, count) => count + 1);
        MostAtOnce = Math.Max(MostAtOnce, atOnce);
        await BeforeAnswer(delivery, context.Response);
        _open.AddOrUpdate(id, 0, (_, count) => count - 1);
        var status = Status(delivery, times);
        if (status is >= 200 and < 300)
        {
            lock (_all)
                _accepted.Add(delivery);
        }

        return status;
    }

    private string Sign(string id, string timestamp, byte[] body)
    {
        var key = Convert.FromBase64String(Key["whsec_".Length..]);
        return "v1," + Convert.ToBase64String(
            HMACSHA256.HashData(key, (byte[])[.. Encoding.ASCII.GetBytes($"{id}.{timestamp}."), .. body]));
    }
}
