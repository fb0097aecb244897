using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The daemon itself: its socket, how it streams, and how long it waits.</summary>
internal sealed partial class OptionTable
{
    private static OptionSpec[] Server =>
    [
        new OptionSpec<string?>(
            new SocketPathType(required: true),
            o => o.Server.Socket, (o, v) => o with { Server = o.Server with { Socket = v! } })
        {
            Key = "server:socket",
            Cli = new("--socket", "-s", "PATH"),
            FlatNames = ["socket", "socket_path"],
            Description = "Unix socket on which Apache hands connections over",
            Cost = "The daemon must be able to write to its directory, and Apache to enter it.",
        },
        new OptionSpec<int>(
            new ModeType(),
            o => o.Server.SocketMode, (o, v) => o with { Server = o.Server with { SocketMode = v } })
        {
            Key = "server:socket_mode",
            Cli = new("--socket-mode", "-m", "MODE"),
            FlatNames = ["socket_mode"],
            Description = "Permission bits of the socket",
            Cost = "Any process that may write to the socket can use the model at your cost. With 0660, "
                + "Apache must be in the socket's group.",
        },
        new OptionSpec<string>(
            new GroupType(),
            o => o.Server.SocketGroup,
            (o, v) => o with { Server = o.Server with { SocketGroup = v } })
        {
            Key = "server:socket_group",
            Cli = new("--socket-group", null, "GROUP"),
            Description = "Group of the socket, by name or number; empty is the daemon's own group",
            Cost = "With Apache's group here and mode 0660, Apache may connect and nobody else. The daemon's "
                + "user must be a member of the group.",
        },
        new OptionSpec<SocketKind>(
            new ChoiceType<SocketKind>(("seqpacket", SocketKind.SeqPacket), ("stream", SocketKind.Stream)),
            o => o.Server.SocketType, (o, v) => o with { Server = o.Server with { SocketType = v } })
        {
            Key = "server:socket_type",
            Cli = new("--socket-type", null, "TYPE"),
            Description = "Type of the socket; the Apache module must use the same",
            Cost = "seqpacket keeps a handoff in one piece. stream is for modules and tools that support "
                + "nothing else.",
        },
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Server.Takeover, (o, v) => o with { Server = o.Server with { Takeover = v } })
        {
            Key = "server:takeover",
            Cli = new("--takeover", null),
            Description = "Take the socket's path over from a daemon that already listens on it",
            Cost = "For upgrades: no handoff finds nobody listening. Stop the other daemon afterwards. Off, "
                + "the start is refused.",
        },
        new OptionSpec<int>(
            new IntType(1, 1_000_000),
            o => o.Server.MaxConnections, (o, v) => o with { Server = o.Server with { MaxConnections = v } })
        {
            Key = "server:max_connections",
            Cli = new("--max-connections", "-c", "N"),
            FlatNames = ["max_connections"],
            Description = "Most streams at once; further handoffs get a 503",
            Cost = "Each takes one file descriptor: LimitNOFILE must be higher than this.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64L << 20, 1L << 40, zero: "what container, unit or machine allow"),
            o => o.Server.MaxMemory,
            (o, v) => o with { Server = o.Server with { MaxMemory = v } })
        {
            Key = "server:max_memory",
            Cli = new("--max-memory", null, "BYTES"),
            Description = "Memory limit of the process, in bytes; above three quarters of it, handoffs get a "
                + "503. 0 is the limit of the container, the unit or the machine",
            Cost = "If it is higher than the system's own limit, the kernel kills the process first. "
                + "docs/operations.md says what a stream takes.",
        },
        new OptionSpec<int>(
            new IntType(1, 65_535),
            o => o.Server.Backlog, (o, v) => o with { Server = o.Server with { Backlog = v } })
        {
            Key = "server:backlog",
            Description = "Longest queue of handoffs that wait to be accepted",
            Cost = "The kernel limits it to net.core.somaxconn. If the queue is full, Apache waits in "
                + "connect.",
        },
        new OptionSpec<IReadOnlyList<int>>(
            new IntListType(),
            o => o.Server.AllowedUids, (o, v) => o with { Server = o.Server with { AllowedUids = v } })
        {
            Key = "server:allowed_uids",
            Description = "User ids whose processes may hand over (SO_PEERCRED); others are disconnected "
                + "unread",
            Cost = "If both lists are empty, the socket's permission bits alone decide.",
        },
        new OptionSpec<IReadOnlyList<int>>(
            new IntListType(),
            o => o.Server.AllowedGids, (o, v) => o with { Server = o.Server with { AllowedGids = v } })
        {
            Key = "server:allowed_gids",
            Description = "Group ids whose processes may hand over; one match in either list is enough",
            Cost = "Only the process's primary group counts, not its supplementary groups.",
        },
    ];

    private static OptionSpec[] Streaming =>
    [
        new OptionSpec<int>(
            new IntType(0, 60_000, zero: "at once"),
            o => o.Streaming.HeadWaitMs,
            (o, v) => o with { Streaming = o.Streaming with { HeadWaitMs = v } })
        {
            Key = "streaming:head_wait_ms",
            Description = "Longest wait for the first text before the 200 head is sent, in ms",
            Cost = "While the head waits, a failing upstream can still become a 502. The browser sees "
                + "nothing yet.",
        },
        new OptionSpec<int>(
            new IntType(StreamingOptions.LeastPendingBytes, 64 * 1024 * 1024),
            o => o.Streaming.MaxPendingBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxPendingBytes = v } })
        {
            Key = "streaming:max_pending_bytes",
            Description = "Bytes that may wait for a slow client before its upstream is paused",
            Cost = "Each slow client can take this much memory.",
        },
        new OptionSpec<int>(
            new IntType(0, 1_000),
            o => o.Streaming.CoalesceMs,
            (o, v) => o with { Streaming = o.Streaming with { CoalesceMs = v } })
        {
            Key = "streaming:coalesce_ms",
            Description = "Longest time that a token waits to be sent with others, in ms; 0 sends each at "
                + "once",
            Cost = "Saves system calls if an upstream is faster than people read. The text then arrives in "
                + "larger steps. A token after a pause is sent at once.",
        },
        new OptionSpec<int>(
            new IntType(1_024, 64 * 1024 * 1024),
            o => o.Streaming.MaxHandoffBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxHandoffBytes = v } })
        {
            Key = "streaming:max_handoff_bytes",
            Description = "Largest handoff, in bytes; a larger one gets a 413",
            Cost = "Until the upstream has the request, a handoff counts five times in the memory budget. "
                + "Above 212960 bytes it needs this project's Apache module, which passes it as a memfd.",
        },
        new OptionSpec<int>(
            new IntType(0, 1024 * 1024 * 1024),
            o => o.Streaming.MaxDrainBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxDrainBytes = v } })
        {
            Key = "streaming:max_drain_bytes",
            Description = "Bytes of a client's unread request that are read and dropped before the close",
            Cost = "If more is left, the close sends a reset, and the client can lose the end of its answer.",
        },
        new OptionSpec<int>(
            new IntType(4_096, 64 * 1024 * 1024),
            o => o.Streaming.MaxEventBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxEventBytes = v } })
        {
            Key = "streaming:max_event_bytes",
            Description = "Longest line accepted from the upstream, in bytes",
            Cost = "Limits the memory that a broken upstream can take.",
        },
        new OptionSpec<int>(
            new IntType(0, 3_600, zero: "off"),
            o => o.Streaming.KeepAliveS,
            (o, v) => o with { Streaming = o.Streaming with { KeepAliveS = v } })
        {
            Key = "streaming:keepalive_s",
            Description = "Silence after which a client is sent the comment \": keep-alive\", in seconds",
            Cost = "Proxies close silent connections, often after 30 seconds. Each comment is 14 bytes.",
        },
        new OptionSpec<HalfClose>(
            new ChoiceType<HalfClose>(("gone", HalfClose.Gone), ("keep", HalfClose.Keep)),
            o => o.Streaming.HalfClose,
            (o, v) => o with { Streaming = o.Streaming with { HalfClose = v } })
        {
            Key = "streaming:half_close",
            Description = "If a client shuts down only its sending side: gone ends its stream, keep goes on "
                + "sending",
            Cost = "With keep, a client that left is noticed only at the next send; see keepalive_s.",
        },
        new OptionSpec<string>(
            new ChoiceType<string>([.. StreamFormats.All.Select(format => (format.Name, format.Name))]),
            o => o.Streaming.Format,
            (o, v) => o with { Streaming = o.Streaming with { Format = v } })
        {
            Key = "streaming:format",
            Description = "Format of an answer whose handoff names none",
            Cost = "openai forwards the upstream's chunks byte for byte: about ten times the bytes of text.",
        },
        new OptionSpec<DeltaKinds>(
            new EventsType(),
            o => o.Streaming.Events,
            (o, v) => o with { Streaming = o.Streaming with { Events = v } })
        {
            Key = "streaming:events",
            Description = "Events that format text sends besides text, if the handoff does not say",
            Cost = "A page must skip events that it does not know. usage asks the upstream for token counts.",
        },
    ];

    private static OptionSpec[] Timeouts =>
    [
        Timeout("handoff_timeout_ms", new IntType(1, 300_000), o => o.HandoffTimeoutMs,
            (o, v) => o with { HandoffTimeoutMs = v },
            "Longest wait for the message after Apache's connection is accepted, in ms",
            "A process that connects and sends nothing holds a slot for this long."),
        Timeout("write_timeout_ms", new IntType(1, 300_000), o => o.WriteTimeoutMs,
            (o, v) => o with { WriteTimeoutMs = v },
            "Longest time that a client may take nothing while bytes wait for it, in ms; then it is "
                + "disconnected as slow",
            "Shorter frees memory sooner. Longer keeps a phone in a tunnel connected.", legacy: true),
        Timeout("first_token_timeout_ms", new IntType(1, 3_600_000), o => o.FirstTokenTimeoutMs,
            (o, v) => o with { FirstTokenTimeoutMs = v },
            "Longest wait for the upstream's first token after the request, in ms",
            "Models that reason before they answer need more."),
        Timeout("idle_timeout_ms", new IntType(1, 3_600_000), o => o.IdleTimeoutMs,
            (o, v) => o with { IdleTimeoutMs = v },
            "Longest silence between two tokens of the upstream, in ms",
            "Shorter tells the reader sooner that the answer broke off."),
        Timeout("stream_timeout_ms", new IntType(0, 86_400_000, zero: "unlimited"), o => o.StreamTimeoutMs,
            (o, v) => o with { StreamTimeoutMs = v },
            "Longest time for a whole stream, in ms",
            "The only limit on an answer that never ends. At 0, the other timeouts still apply."),
        Timeout("connect_timeout_ms", new IntType(1, 300_000), o => o.ConnectTimeoutMs,
            (o, v) => o with { ConnectTimeoutMs = v },
            "Longest time to connect to the upstream, in ms",
            "After this, the browser gets an error instead of waiting for an upstream that is down."),
        Timeout("drain_timeout_ms", new IntType(0, 60_000, zero: "no wait"), o => o.DrainTimeoutMs,
            (o, v) => o with { DrainTimeoutMs = v },
            "Longest wait for a client to close after the end of its stream, in ms",
            "A finished stream keeps its slot for at most this much longer. For a TLS client, the wait "
                + "starts when it has taken everything."),
        Timeout("shutdown_timeout_s", new IntType(1, 3_600), o => o.ShutdownTimeoutS,
            (o, v) => o with { ShutdownTimeoutS = v },
            "Longest time that running streams may take after SIGTERM, in seconds",
            "The kill timeout of systemd or Kubernetes must be longer.", legacy: true),
    ];

    private static OptionSpec<int> Timeout(
        string name,
        IntType type,
        Func<TimeoutOptions, int> get,
        Func<TimeoutOptions, int, TimeoutOptions> set,
        string description,
        string cost,
        bool legacy = false) =>
        new(type, o => get(o.Timeouts), (o, v) => o with { Timeouts = set(o.Timeouts, v) })
        {
            Key = "timeouts:" + name,
            // The upstream's connections come from a handler that is built once.
            Reloadable = name != "connect_timeout_ms",
            FlatNames = legacy ? [name] : [],
            Description = description,
            Cost = cost,
        };
}
