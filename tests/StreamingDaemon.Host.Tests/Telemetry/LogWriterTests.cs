using System.Text;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Telemetry;

public sealed class LogWriterTests
{
    [Fact]
    public async Task Lines_that_come_together_leave_with_one_write()
    {
        var output = new Output();
        using var writer = new LogWriter(output);

        for (var i = 0; i < 100; i++)
            writer.Append(Line(i), isUrgent: false);
        await Eventually.TrueAsync(() => output.Writes.Count > 0);

        Assert.Equal(string.Concat(Enumerable.Range(0, 100).Select(i => $"line {i}\n")), output.Writes[0]);
    }

    [Fact]
    public async Task Urgent_line_takes_those_before_it_with_it()
    {
        var output = new Output();
        using var writer = new LogWriter(output);

        writer.Append(Line(1), isUrgent: false);
        writer.Append(Line(2), isUrgent: true);
        await Eventually.TrueAsync(() => output.Text.Length > 0);

        Assert.Equal("line 1\nline 2\n", output.Text);
    }

    [Fact]
    public async Task Steady_lines_allocate_nothing_on_either_thread()
    {
        var output = new AllocationCounter();
        using var writer = new LogWriter(output);
        var line = Line(1);
        var appending = 0L;
        // The first batches make the buffers large enough.
        for (var batch = 1; batch <= 8; batch++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 500; i++)
                writer.Append(line, isUrgent: false);
            writer.Append(line, isUrgent: true);
            if (batch > 4)
                appending += GC.GetAllocatedBytesForCurrentThread() - before;
            await Eventually.TrueAsync(() => output.Lines == batch * 501);
        }

        Assert.Equal(0, appending);
        Assert.Equal(output.AllocatedAtLine(4 * 501), output.AllocatedAtLine(8 * 501));
    }

    [Fact]
    public void End_writes_what_is_there_and_takes_no_more()
    {
        var output = new Output();
        var writer = new LogWriter(output);
        writer.Append(Line(1), isUrgent: false);

        writer.End(TestClient.Patience);
        writer.Append(Line(2), isUrgent: true);
        writer.End(TestClient.Patience);

        Assert.Equal("line 1\n", output.Text);
    }

    [Fact]
    public async Task Nobody_waits_for_a_reader_that_does_not_read_and_what_is_lost_is_counted()
    {
        using var reads = new ManualResetEventSlim();
        var output = new Output { BeforeWrite = reads.Wait };
        var writer = new LogWriter(output);
        var line = new byte[64 * 1024];
        line.AsSpan().Fill((byte)'x');
        line[^1] = (byte)'\n';
        var lost = 0L;
        writer.Lost = count => Interlocked.Add(ref lost, count);
        writer.Append(line, isUrgent: true);
        await Eventually.TrueAsync(() => output.IsInWrite);

        const int lines = (LogWriter.MaxBytes / (64 * 1024)) + 7;
        for (var i = 0; i < lines; i++)
            writer.Append(line, isUrgent: false);
        writer.End(TimeSpan.FromMilliseconds(1));
        reads.Set();
        await Eventually.TrueAsync(() => Interlocked.Read(ref lost) > 0);
        writer.End(TestClient.Patience);

        Assert.Equal(7, lost);
        Assert.Equal(7, writer.LostLines);
        Assert.Equal(lines + 1 - 7, output.Text.Count(c => c == '\n'));
    }

    [Fact]
    public void Output_that_fails_ends_nothing()
    {
        var output = new Output { BeforeWrite = () => throw new IOException("No space left on device") };
        var writer = new LogWriter(output);
        writer.Append(Line(1), isUrgent: true);

        writer.End(TestClient.Patience);

        Assert.Equal("", output.Text);
    }

    [Fact]
    public async Task Lines_of_writes_that_fail_are_counted_and_told_after_the_first_that_succeeds()
    {
        var isFull = true;
        var output = new Output
        {
            BeforeWrite = () =>
            {
                if (Volatile.Read(ref isFull))
                    throw new IOException("No space left on device");
            },
        };
        var told = 0L;
        using var writer = new LogWriter(output) { Lost = count => Interlocked.Add(ref told, count) };

        for (var i = 1; i <= 3; i++)
        {
            writer.Append(Line(i), isUrgent: true);
            await Eventually.TrueAsync(() => writer.LostLines == i);
        }

        Assert.Equal(0, Interlocked.Read(ref told));
        Volatile.Write(ref isFull, false);
        writer.Append(Line(4), isUrgent: true);
        await Eventually.TrueAsync(() => Interlocked.Read(ref told) == 3);

        Assert.Equal("line 4\n", output.Text);
        Assert.Equal(3, writer.LostLines);
    }

    [Fact]
    public void Exception_that_nobody_catches_writes_the_lines_that_wait()
    {
        var output = new Output();
        using var log = new DaemonLog(new LoggingOptions { Format = "json", Level = "information" }, output);
        log.Writer!.Append(Line(1), isUrgent: false);

        LastWords.OnUnhandled(this, new UnhandledExceptionEventArgs(new InvalidOperationException(), true));

        Assert.Equal("line 1\n", output.Text);
    }

    private static byte[] Line(int number) => Encoding.UTF8.GetBytes($"line {number}\n");

    /// <summary>Counts lines, and what the thread that writes them has allocated by then.</summary>
    private sealed class AllocationCounter : Stream
    {
        private readonly long[] _allocated = new long[10_000];
        private int _lines;

        public int Lines => Volatile.Read(ref _lines);

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public long AllocatedAtLine(int line) => _allocated[line];

        public override void Write(byte[] buffer, int offset, int count)
        {
            var lines = _lines + buffer.AsSpan(offset, count).Count((byte)'\n');
            _allocated[lines] = GC.GetAllocatedBytesForCurrentThread();
            Volatile.Write(ref _lines, lines);
        }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }

    private sealed class Output : MemoryStream
    {
        public Action? BeforeWrite { get; init; }

        public List<string> Writes { get; } = [];

        public bool IsInWrite { get; private set; }

        public string Text
        {
            get
            {
                lock (Writes)
                    return string.Concat(Writes);
            }
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            IsInWrite = true;
            BeforeWrite?.Invoke();
            lock (Writes)
                Writes.Add(Encoding.UTF8.GetString(buffer, offset, count));
            IsInWrite = false;
        }
    }
}
