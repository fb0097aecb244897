using System.Runtime.InteropServices;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Clients;

/// <summary>
/// The alert that ends our side of a TLS connection (RFC 8446, section 6.1). Without it, a client takes FIN
/// for a connection that was cut. The kernel makes the record; the message names its type. All clients share
/// one message, which is never freed: the kernel only reads it.
/// </summary>
internal static unsafe class CloseNotify
{
    private const byte AlertRecord = 21;
    private const byte Warning = 1;
    private const byte Code = 0;

    public static readonly MessageHeader* Message = Make();

    private static MessageHeader* Make()
    {
        var layout = (Layout*)NativeMemory.AllocZeroed((nuint)sizeof(Layout));
        layout->Alert[0] = Warning;
        layout->Alert[1] = Code;
        layout->Vector = new IoVector { Base = layout->Alert, Length = 2 };
        layout->Control = new ControlHeader
        {
            // CMSG_LEN(1): the data need no padding.
            Length = (nuint)sizeof(ControlHeader) + 1,
            Level = SolTls,
            Type = TlsSetRecordType,
        };
        layout->RecordType = AlertRecord;
        layout->Message = new MessageHeader
        {
            Vectors = &layout->Vector,
            VectorCount = 1,
            Control = &layout->Control,
            ControlLength = layout->Control.Length,
        };
        return &layout->Message;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Layout
    {
        public MessageHeader Message;
        public IoVector Vector;
        public ControlHeader Control;
        public ulong RecordType;
        public fixed byte Alert[2];
    }
}
