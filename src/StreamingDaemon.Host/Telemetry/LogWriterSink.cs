using System.Buffers;
using System.Text;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Passes Serilog's events to a <see cref="LogWriter"/> as urgent lines.</summary>
internal sealed class LogWriterSink(LogWriter writer, ITextFormatter formatter) : ILogEventSink
{
    public void Emit(LogEvent logEvent)
    {
        using var text = new StringWriter();
        formatter.Format(logEvent, text);
        var line = text.ToString();
        var bytes = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(line.Length));
        writer.Append(bytes.AsSpan(0, Encoding.UTF8.GetBytes(line, bytes)), isUrgent: true);
        ArrayPool<byte>.Shared.Return(bytes);
    }
}
