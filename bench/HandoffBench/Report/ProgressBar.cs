using System.Globalization;
using StreamingDaemon.Bench.Load;

namespace StreamingDaemon.Bench.Report;

/// <summary>One line on a terminal; nothing if standard error is not a terminal.</summary>
internal sealed class ProgressBar(string title) : IDisposable
{
    private const int Width = 30;
    private readonly bool _isTerminal = !Console.IsErrorRedirected;

    public void Show(int begun, int ended, LoadPlan plan)
    {
        if (!_isTerminal)
            return;
        // A closed loop has no total number of streams.
        var share = plan.IsClosedLoop ? 0 : Math.Clamp((double)ended / plan.Streams, 0, 1);
        var done = (int)(share * Width);
        Console.Error.Write(string.Create(CultureInfo.InvariantCulture,
            $"\r{title} [{new string('#', done)}{new string('.', Width - done)}] open {begun - ended}, "
            + $"ended {ended}\e[K"));
    }

    public void Dispose()
    {
        if (_isTerminal)
            Console.Error.Write("\r\e[K");
    }
}
