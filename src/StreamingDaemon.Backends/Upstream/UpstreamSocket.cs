using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>The Unix socket that reaches an upstream. Errors name its path: for a missing one the runtime
/// says "Cannot assign requested address".</summary>
internal static class UpstreamSocket
{
    /// <summary>Connects, then disconnects.</summary>
    /// <returns>What is wrong with the path, or null if a server listens there.</returns>
    public static string? Check(string path)
    {
        using var socket = Create();
        // With this a full queue returns WouldBlock instead of waiting.
        socket.Blocking = false;
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return null;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode == SocketError.WouldBlock ? null : Explain(path, e);
        }
    }

    /// <exception cref="UpstreamSocketException">No server can be reached there.</exception>
    internal static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = Create();
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new UpstreamSocketException(Explain(path, e), e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static Socket Create() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <summary>Meanings from unix(7) and path_resolution(7).</summary>
    private static string Explain(string path, SocketException error) => path + ": "
        + error.SocketErrorCode switch
        {
            // ENOENT, which has no SocketError of its own.
            SocketError.AddressNotAvailable when !Path.Exists(path) => "does not exist",
            SocketError.ConnectionRefused when Directory.Exists(path) => "is a directory and no socket",
            SocketError.ConnectionRefused => "nobody listens there, or it is no socket",
            SocketError.AccessDenied => "this user may not connect to it: change its mode, or those above it",
            SocketError.ProtocolType => "is not a stream socket",
            _ => error.Message,
        };
}

/// <summary>The message is in the daemon's own words, and names the path.</summary>
internal sealed class UpstreamSocketException(string message, SocketException cause)
    : IOException(message, cause);
