using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;

namespace StreamingDaemon.Testing;

/// <summary>A site as a developer has it: <c>apache/deliver.php</c> in PHP's own server, with SQLite.</summary>
public sealed class PhpSite : IDisposable
{
    private readonly string _directory;
    private readonly int _port = DaemonProcess.FreePort();
    private Process? _php;

    /// <param name="directory">Holds the database and the secret.</param>
    public PhpSite(string directory)
    {
        _directory = directory;
        File.WriteAllText(SecretFile, DeliveryReceiver.Secret + "\n");
    }

    public Uri Url => new($"http://127.0.0.1:{_port}/deliver.php");

    public string SecretFile => Path.Combine(_directory, "secret");

    private string Database => Path.Combine(_directory, "chat.sqlite");

    /// <summary>Starts the server and waits until it listens.</summary>
    public async Task UpAsync()
    {
        var start = new ProcessStartInfo("php", ["-S", $"127.0.0.1:{_port}", "-t",
            Path.Combine(DaemonProcess.RepositoryRoot(), "apache")])
        {
            // Its log is a line a request.
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["DELIVERY_SECRET_FILE"] = SecretFile;
        start.Environment["DELIVERY_DATABASE"] = Database;
        _php = Process.Start(start)!;
        _php.ErrorDataReceived += (_, _) => { };
        _php.OutputDataReceived += (_, _) => { };
        _php.BeginErrorReadLine();
        _php.BeginOutputReadLine();
        await Eventually.TrueAsync(Listens);
    }

    /// <summary>Kills the server, whatever it is doing.</summary>
    public void Down()
    {
        if (_php is null)
            return;
        _php.Kill();
        _php.WaitForExit();
        _php.Dispose();
        _php = null;
    }

    /// <summary>The rows of the database: delivery and request.</summary>
    public async Task<IReadOnlyList<(string Id, string RequestId)>> RowsAsync()
    {
        using var php = Process.Start(new ProcessStartInfo("php", ["-r",
            "$d = new PDO('sqlite:' . $argv[1]); echo json_encode("
            + "$d->query('SELECT id, request_id FROM answers ORDER BY rowid')->fetchAll(PDO::FETCH_NUM));", Database])
        {
            RedirectStandardOutput = true,
        })!;
        var text = await php.StandardOutput.ReadToEndAsync();
        await php.WaitForExitAsync();
        return [.. JsonDocument.Parse(text).RootElement.EnumerateArray()
            .Select(row => (row[0].GetString()!, row[1].GetString()!))];
    }

    public void Dispose() => Down();

    private bool Listens()
    {
        try
        {
            using var client = new TcpClient();
            client.Connect("127.0.0.1", _port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
