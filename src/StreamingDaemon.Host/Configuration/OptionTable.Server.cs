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
            Cost = "Its directory must be writable for the daemon and reachable for Apache.",
        },
        new OptionSpec<int>(
            new ModeType(),
            o => o.Server.SocketMode, (o, v) => o with { Server = o.Server with { SocketMode = v } })
        {
            Key = "server:socket_mode",
            Cli = new("--socket-mode", "-m", "MODE"),
            FlatNames = ["socket_mode"],
            Description = "Permission bits of the socket",
            Cost = "Whoever may write to the socket may send to any client. 0660 wants Apache in the group.",
        },
        new OptionSpec<string>(
            new GroupType(),
            o => o.Server.SocketGroup,
            (o, v) => o with { Server = o.Server with { SocketGroup = v } })
        {
            Key = "server:socket_group",
            Cli = new("--socket-group", null, "GROUP"),
            Description = "Group of the socket, by name or number; empty is the group of the daemon",
            Cost = "Apache's group here and mode 0660 let Apache connect and nobody else; the daemon's " +
                "user must be a member.",
        },
        new OptionSpec<SocketKind>(
            new ChoiceType<SocketKind>(("seqpacket", SocketKind.SeqPacket), ("stream", SocketKind.Stream)),
            o => o.Server.SocketType, (o, v) => o with { Server = o.Server with { SocketType = v } })
        {
            Key = "server:socket_type",
            Cli = new("--socket-type", null, "TYPE"),
            Description = "What the socket speaks; the Apache module must speak the same",
            Cost = "seqpacket keeps a handoff whole. stream is for modules and tools that know no other.",
        },
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Server.Takeover, (o, v) => o with { Server = o.Server with { Takeover = v } })
        {
            Key = "server:takeover",
            Cli = new("--takeover", null),
            Description = "Take the socket's path from a daemon that listens there instead of refusing it",
            Cost = "A deploy without a moment in which nobody listens; the other daemon is stopped after it.",
        },
        new OptionSpec<int>(
            new IntType(1, 1_000_000),
            o => o.Server.MaxConnections, (o, v) => o with { Server = o.Server with { MaxConnections = v } })
        {
            Key = "server:max_connections",
            Cli = new("--max-connections", "-c", "N"),
            FlatNames = ["max_connections"],
            Description = "Streams at once; further handoffs are answered with 503",
            Cost = "Each costs a file descriptor and a slot: LimitNOFILE must allow more than this.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64L << 20, 1L << 40, zero: "what container, unit or machine allow"),
            o => o.Server.MaxMemory,
            (o, v) => o with { Server = o.Server with { MaxMemory = v } })
        {
            Key = "server:max_memory",
            Cli = new("--max-memory", null, "BYTES"),
            Description = "Memory that the process may take, bytes; above three quarters of it handoffs are "
                + "answered with 503. 0 is the limit of the container, the unit or the machine",
            Cost = "A value above what the system gives ends the process instead. docs/operations.md says "
                + "what a stream costs.",
        },
        new OptionSpec<int>(
            new IntType(1, 65_535),
            o => o.Server.Backlog, (o, v) => o with { Server = o.Server with { Backlog = v } })
        {
            Key = "server:backlog",
            Description = "Handoffs that may wait to be accepted",
            Cost = "The kernel cuts it to net.core.somaxconn; a full queue makes Apache wait in connect.",
        },
        new OptionSpec<IReadOnlyList<int>>(
            new IntListType(),
            o => o.Server.AllowedUids, (o, v) => o with { Server = o.Server with { AllowedUids = v } })
        {
            Key = "server:allowed_uids",
            Description = "Users whose processes may hand over (SO_PEERCRED); others are dropped unread",
            Cost = "With both lists empty the socket's mode alone decides.",
        },
        new OptionSpec<IReadOnlyList<int>>(
            new IntListType(),
            o => o.Server.AllowedGids, (o, v) => o with { Server = o.Server with { AllowedGids = v } })
        {
            Key = "server:allowed_gids",
            Description = "Groups whose processes may hand over; being in one of the two lists is enough",
            Cost = "Only the group that the process runs as counts, not its supplementary ones.",
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
            Description = "Longest wait for the answer's first text before the 200 head leaves, ms",
            Cost = "While it waits, a failing upstream can still become a 502; the browser sees nothing.",
        },
        new OptionSpec<int>(
            new IntType(StreamingOptions.LeastPendingBytes, 64 * 1024 * 1024),
            o => o.Streaming.MaxPendingBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxPendingBytes = v } })
        {
            Key = "streaming:max_pending_bytes",
            Description = "Bytes of a client not yet taken by the kernel, above which its producer waits",
            Cost = "Memory that each slow client may hold.",
        },
        new OptionSpec<int>(
            new IntType(0, 1_000),
            o => o.Streaming.CoalesceMs,
            (o, v) => o with { Streaming = o.Streaming with { CoalesceMs = v } })
        {
            Key = "streaming:coalesce_ms",
            Description = "Tokens that come sooner than this after the last send, in milliseconds, wait for "
                + "no longer than this and leave together; 0 sends each at once",
            Cost = "Saves most of what a send costs if an upstream is faster than people read; the text "
                + "comes in larger steps.",
        },
        new OptionSpec<int>(
            new IntType(1_024, 64 * 1024 * 1024),
            o => o.Streaming.MaxHandoffBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxHandoffBytes = v } })
        {
            Key = "streaming:max_handoff_bytes",
            Description = "Largest handoff accepted; a larger one is answered with 413",
            Cost = "A handoff counts five times its bytes in the memory budget until the model's server has "
                + "the request. Above 212960 bytes it needs this project's module, which passes it in a file "
                + "in memory.",
        },
        new OptionSpec<int>(
            new IntType(0, 1024 * 1024 * 1024),
            o => o.Streaming.MaxDrainBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxDrainBytes = v } })
        {
            Key = "streaming:max_drain_bytes",
            Description = "Bytes of a client's unread request that are discarded before it is closed anyway",
            Cost = "Closing with unread bytes sends a reset, which can eat the end of the answer.",
        },
        new OptionSpec<int>(
            new IntType(4_096, 64 * 1024 * 1024),
            o => o.Streaming.MaxEventBytes,
            (o, v) => o with { Streaming = o.Streaming with { MaxEventBytes = v } })
        {
            Key = "streaming:max_event_bytes",
            Description = "Longest line accepted from the upstream",
            Cost = "Bounds what a broken upstream can make the daemon remember.",
        },
        new OptionSpec<int>(
            new IntType(0, 3_600, zero: "off"),
            o => o.Streaming.KeepAliveS,
            (o, v) => o with { Streaming = o.Streaming with { KeepAliveS = v } })
        {
            Key = "streaming:keepalive_s",
            Description = "Silence after which a client is sent the comment \": keep-alive\", s",
            Cost = "Proxies close what is silent for long; half a minute is common. 14 bytes each time.",
        },
        new OptionSpec<HalfClose>(
            new ChoiceType<HalfClose>(("gone", HalfClose.Gone), ("keep", HalfClose.Keep)),
            o => o.Streaming.HalfClose,
            (o, v) => o with { Streaming = o.Streaming with { HalfClose = v } })
        {
            Key = "streaming:half_close",
            Description = "A client that shuts down only its sending side is gone, or kept and sent the rest",
            Cost = "keep notices that a client left only when it is next sent something; see keepalive_s.",
        },
        new OptionSpec<string>(
            new ChoiceType<string>([.. StreamFormats.All.Select(format => (format.Name, format.Name))]),
            o => o.Streaming.Format,
            (o, v) => o with { Streaming = o.Streaming with { Format = v } })
        {
            Key = "streaming:format",
            Description = "Format of the answers, if the handoff names none",
            Cost = "openai forwards the upstream's chunks byte for byte, about ten times the bytes of text.",
        },
        new OptionSpec<DeltaKinds>(
            new EventsType(),
            o => o.Streaming.Events,
            (o, v) => o with { Streaming = o.Streaming with { Events = v } })
        {
            Key = "streaming:events",
            Description = "Events that the format text has beside its text, if the handoff does not say",
            Cost = "Readers of the stream must skip events that they do not know. usage asks the upstream "
                + "for its token counts.",
        },
    ];

    private static OptionSpec[] Timeouts =>
    [
        Timeout("handoff_timeout_ms", new IntType(1, 300_000), o => o.HandoffTimeoutMs,
            (o, v) => o with { HandoffTimeoutMs = v },
            "From accepting Apache's connection to having its message, ms",
            "A process that connects and says nothing holds a slot for this long."),
        Timeout("write_timeout_ms", new IntType(1, 300_000), o => o.WriteTimeoutMs,
            (o, v) => o with { WriteTimeoutMs = v },
            "Without progress while bytes wait for a client, ms; then it is given up as slow",
            "Shorter frees memory sooner; longer forgives a phone in a tunnel.", legacy: true),
        Timeout("first_token_timeout_ms", new IntType(1, 3_600_000), o => o.FirstTokenTimeoutMs,
            (o, v) => o with { FirstTokenTimeoutMs = v },
            "From the request to the upstream's first token, ms",
            "Models that think before they speak need more."),
        Timeout("idle_timeout_ms", new IntType(1, 3_600_000), o => o.IdleTimeoutMs,
            (o, v) => o with { IdleTimeoutMs = v },
            "Silence between two tokens of the upstream, ms",
            "Shorter tells the reader sooner that the answer broke off."),
        Timeout("stream_timeout_ms", new IntType(0, 86_400_000, zero: "unlimited"), o => o.StreamTimeoutMs,
            (o, v) => o with { StreamTimeoutMs = v },
            "A whole stream, ms",
            "The one bound on an answer that never ends; unlimited leaves only the others."),
        Timeout("connect_timeout_ms", new IntType(1, 300_000), o => o.ConnectTimeoutMs,
            (o, v) => o with { ConnectTimeoutMs = v },
            "Until a connection to the upstream stands, ms",
            "A dead upstream becomes an error in the browser after this long."),
        Timeout("drain_timeout_ms", new IntType(0, 60_000, zero: "no wait"), o => o.DrainTimeoutMs,
            (o, v) => o with { DrainTimeoutMs = v },
            "Wait for a client to close after the end of its stream, ms",
            "A finished stream keeps its slot at most this much longer. "
            + "It begins when a TLS client has taken everything."),
        Timeout("shutdown_timeout_s", new IntType(1, 3_600), o => o.ShutdownTimeoutS,
            (o, v) => o with { ShutdownTimeoutS = v },
            "Given to running streams after SIGTERM, seconds",
            "systemd and Kubernetes must wait longer than this before they kill.", legacy: true),
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
