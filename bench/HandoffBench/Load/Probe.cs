using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>Asks a daemon once before any load: waits until it serves, and learns its answer.</summary>
internal static class Probe
{
    private const int ErrorNoEntry = 2, ErrorRefused = 111;
    private const int LargestAnswer = 64 * 1024 * 1024;

    /// <summary>Two answers, equal byte for byte and of the right shape.</summary>
    /// <exception cref="InvalidAnswerException">They are not.</exception>
    /// <exception cref="TimeoutException">None came in time.</exception>
    public static ExpectedStream Learn(LoadPlan plan, string socketPath, AnswerShape shape, TimeSpan patience)
    {
        var expected = ExpectedStream.Learn(Ask(plan, socketPath, patience), shape);
        var second = new StreamChecker();
        if (second.Accept(Ask(plan, socketPath, patience), expected) != StreamVerdict.Open
            || second.End(expected) != StreamVerdict.Good)
        {
            throw new InvalidAnswerException("two answers to the same request differ: none can be checked");
        }

        return expected;
    }

    private static byte[] Ask(LoadPlan plan, string socketPath, TimeSpan patience)
    {
        using var pairs = IClientPairs.For(plan.Tcp);
        using var sender = new HandoffSender(socketPath, plan.Request.Span);
        var (browser, server) = pairs.Create();
        using var epoll = new Epoll();
        var begun = Stopwatch.GetTimestamp();
        int error;
        while ((error = sender.Send(server)) != 0)
        {
            // A starting daemon has no socket yet, or does not listen on it.
            if (error is not (ErrorNoEntry or ErrorRefused) || Stopwatch.GetElapsedTime(begun) > patience)
                throw new SystemCallException($"handing over to {socketPath}", error);
            Thread.Sleep(20);
        }

        _ = Native.Close(server);
        epoll.Add(browser, 0, Watch.Data);
        try
        {
            return ReadToEnd(browser, epoll, patience);
        }
        finally
        {
            _ = Native.Close(browser);
        }
    }

    private static unsafe byte[] ReadToEnd(int fd, Epoll epoll, TimeSpan patience)
    {
        using var answer = new MemoryStream();
        var buffer = stackalloc byte[16 * 1024];
        var begun = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begun) < patience)
        {
            if (epoll.Wait(100) == 0)
                continue;
            var count = Native.Receive(fd, buffer, 16 * 1024, Native.DontWait);
            if (count < 0)
                throw new SystemCallException("reading the probe", Native.Errno);
            if (count == 0 || answer.Length > LargestAnswer)
                return answer.ToArray();
            answer.Write(new ReadOnlySpan<byte>(buffer, (int)count));
        }

        throw new TimeoutException(
            $"the probe's answer has no end: {answer.Length} bytes came within {patience}");
    }
}
