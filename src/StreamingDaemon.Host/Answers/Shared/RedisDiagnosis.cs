using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using StackExchange.Redis;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Says why Redis cannot be used, on a connection of its own: the library says only that it could
/// not connect.</summary>
internal static class RedisDiagnosis
{
    public const string CaOption = "answers.redis_ca_file";

    /// <summary>Longest piece of an answer that is looked at (bytes). That of INFO is some 1 KB.</summary>
    private const int LongestReply = 16 * 1024;

    private const string TlsIsOff = "it speaks TLS: set answers.redis_tls";

    /// <summary>RFC 8446, section 5.1: the type of a record that is an alert.</summary>
    private const char TlsAlert = '\x15';

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    /// <returns>What is wrong, or null if Redis answers. It may still refuse what answers need.</returns>
    public static async Task<string?> ProblemAsync(AnswerOptions options)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var step = "no connection";
        try
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(EndPointOf(options), limit.Token).ConfigureAwait(false);
            step = "no TLS";
            await using var stream = await OpenAsync(socket, options, limit.Token).ConfigureAwait(false);
            step = "no answer";
            return await TalkAsync(stream, options, limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return string.Create(
                CultureInfo.InvariantCulture, $"{step} within {s_patience.TotalMilliseconds} ms");
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode.ToString();
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            // A TLS port refuses a command, and closes: its alert is lost if the reset is faster.
            var mayBeTls = step == "no answer" && !options.RedisTls;
            if (mayBeTls && await SpeaksTlsAsync(options).ConfigureAwait(false))
                return TlsIsOff;
            // The outer exception only points at the inner one.
            var cause = e.GetBaseException();
            var reason = cause is SocketException socket ? socket.SocketErrorCode.ToString()
                : cause.Message.ReplaceLineEndings(" ").TrimEnd('.');
            return step == "no TLS" ? "TLS: " + reason : reason;
        }
    }

    /// <summary>What <c>check</c> says.</summary>
    /// <returns>Nothing if answers are in memory.</returns>
    public static async Task<IReadOnlyList<CheckResult>> CheckAsync(AnswerOptions options)
    {
        if (options.Store != AnswerStoreKind.Redis)
            return [];
        return await ProblemAsync(options).ConfigureAwait(false) is { } problem
            ? [new("redis", CheckStatus.Warning,
                $"{options.Redis}: {problem}. Streams would go on, but no answer would be kept")]
            : [new("redis", CheckStatus.Ok, $"{options.Redis} answers")];
    }

    private static EndPoint EndPointOf(AnswerOptions options)
    {
        var library = new ConfigurationOptions { Ssl = options.RedisTls };
        library.EndPoints.Add(options.Redis);
        library.SetDefaultPorts();
        return library.EndPoints[0];
    }

    private static async Task<Stream> OpenAsync(
        Socket socket, AnswerOptions options, CancellationToken cancellationToken)
    {
        var plain = new NetworkStream(socket);
        if (!options.RedisTls)
            return plain;
        var tls = AuthorityFile.TlsOptions(CaOption, options.RedisCaFile);
        tls.TargetHost = EndPointOf(options) is DnsEndPoint name ? name.Host
            : ((IPEndPoint)EndPointOf(options)).Address.ToString();
        var secure = new SslStream(plain);
        await secure.AuthenticateAsClientAsync(tls, cancellationToken).ConfigureAwait(false);
        return secure;
    }

    private static async Task<string?> TalkAsync(
        Stream stream, AnswerOptions options, CancellationToken cancellationToken)
    {
        var password = new RedisPassword(options);
        if (password.Password is { } secret)
        {
            string[] login = password.User is { } user ? ["AUTH", user, secret] : ["AUTH", secret];
            var entered = await AskAsync(stream, cancellationToken, login).ConfigureAwait(false);
            if (Refusal(entered, secret) is { } refused)
                return refused;
            if (entered != "+OK")
                return NoRedis(entered);
        }

        var alive = await AskAsync(stream, cancellationToken, "PING").ConfigureAwait(false);
        if (Refusal(alive, password.Password) is { } problem)
            return problem;
        if (alive != "+PONG")
            return NoRedis(alive);
        var about = await AskAsync(stream, cancellationToken, "INFO", "server").ConfigureAwait(false);
        if (about.Contains("redis_mode:sentinel", StringComparison.Ordinal))
            return "it is a sentinel. Name the primary, or a proxy that leads to it";
        // The library begins with it: a user that may not is one without a connection.
        var echo = await AskAsync(stream, cancellationToken, "ECHO", "daemon").ConfigureAwait(false);
        return Refusal(echo, password.Password);
    }

    /// <returns>Null if the reply is no refusal. Never the password, even if the server repeats it.</returns>
    private static string? Refusal(string reply, string? password)
    {
        if (reply is not ['-', .. var error])
            return null;
        return password is not null && error.Contains(password, StringComparison.Ordinal)
            ? "it refuses, and repeats the password" : RedisRefusal.Of(error).Text;
    }

    private static string NoRedis(string reply) =>
        reply is [TlsAlert, ..] ? TlsIsOff : "what answers there is no Redis";

    /// <summary>Whether a TLS handshake gets as far as the server's certificate.</summary>
    private static async Task<bool> SpeaksTlsAsync(AnswerOptions options)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var sentCertificate = false;
        try
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(EndPointOf(options), limit.Token).ConfigureAwait(false);
            await using var secure = new SslStream(
                new NetworkStream(socket), false, (_, _, _, _) => !(sentCertificate = true));
            await secure.AuthenticateAsClientAsync(new SslClientAuthenticationOptions(), limit.Token)
                .ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException
            or AuthenticationException)
        {
            // The certificate is refused, or there was none.
        }

        return sentCertificate;
    }

    /// <returns>The reply: its first line, and what came with it.</returns>
    private static async Task<string> AskAsync(
        Stream stream, CancellationToken cancellationToken, params string[] command)
    {
        // RESP (Redis protocol specification): an array of bulk strings.
        var request = new StringBuilder().Append(CultureInfo.InvariantCulture, $"*{command.Length}\r\n");
        foreach (var word in command)
        {
            request.Append(
                CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        }

        await stream.WriteAsync(Encoding.UTF8.GetBytes(request.ToString()), cancellationToken)
            .ConfigureAwait(false);
        var buffer = new byte[LongestReply];
        var length = 0;
        while (!IsWhole(buffer.AsSpan(0, length)) && length < buffer.Length)
        {
            var read = await stream.ReadAsync(buffer.AsMemory(length), cancellationToken)
                .ConfigureAwait(false);
            if (read == 0)
                throw new IOException("it closes the connection");
            length += read;
        }

        return Encoding.UTF8.GetString(buffer.AsSpan(0, length)).TrimEnd();
    }

    private static bool IsWhole(ReadOnlySpan<byte> reply)
    {
        if (reply.Length > 0 && !"+-:$*"u8.Contains(reply[0]))
            return true;
        var line = reply.IndexOf("\r\n"u8);
        if (line < 0)
            return false;
        if (reply[0] != '$' || !int.TryParse(reply[1..line], CultureInfo.InvariantCulture, out var bytes))
            return true;
        return reply.Length >= line + 2 + Math.Max(0, bytes);
    }
}
