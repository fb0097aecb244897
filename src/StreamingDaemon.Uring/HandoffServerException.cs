namespace StreamingDaemon.Uring;

/// <summary>The server cannot start, or cannot go on. The message names the cause and the fix.</summary>
public sealed class HandoffServerException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">Cause and fix, one or more sentences.</param>
    /// <param name="errno">The positive errno behind it, or 0.</param>
    public HandoffServerException(string message, int errno = 0)
        : base(message) => Errno = errno;

    /// <summary>The positive errno behind it, or 0.</summary>
    public int Errno { get; }
}
