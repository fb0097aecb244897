using System.Collections.Frozen;

namespace StreamingDaemon.Host.Handoff;

/// <summary>What the daemon does with a field of the handoff that it does not read itself.</summary>
internal enum ParameterKind
{
    /// <summary>Sent as it is.</summary>
    Any,

    /// <summary>Sent as it is if it is a number. PHP applications also send numbers as strings; those are
    /// sent without their quotes.</summary>
    Number,

    /// <summary>As <see cref="Number"/>, but 4096.0 is sent as 4096: servers refuse a fraction.</summary>
    Integer,

    /// <summary>True or false. 1, "1" and "true", as PHP forms and databases have them, are sent as true.
    /// Anything else is sent as it is.</summary>
    Boolean,

    /// <summary>A list, or one item of it. The list may be one that PHP wrote as an object.</summary>
    List,

    /// <summary>A list of objects that hold schemas.</summary>
    Schemas,

    /// <summary>An object that may hold a schema.</summary>
    Schema,

    /// <summary>Not sent: the daemon always streams.</summary>
    Stream,

    /// <summary>Not sent, and not worth a warning.</summary>
    Ignored,

    /// <summary>A field of other daemons, never sent: it may hold a key or an address.</summary>
    Foreign,
}

/// <summary>The fields of the handoff that the daemon knows by name only: the parameters of the chat
/// completions API (https://platform.openai.com/docs/api-reference/chat/create) without those that the
/// daemon reads (<see cref="HandoffRequestReader"/>), and the fields of other daemons. docs/handoff.md lists
/// them.</summary>
internal static class ChatParameters
{
    public static readonly FrozenDictionary<string, ParameterKind> All = new Dictionary<string, ParameterKind>
    {
        ["audio"] = ParameterKind.Any,
        ["frequency_penalty"] = ParameterKind.Number,
        ["function_call"] = ParameterKind.Any,
        ["functions"] = ParameterKind.Schemas,
        ["logit_bias"] = ParameterKind.Any,
        ["logprobs"] = ParameterKind.Boolean,
        ["max_completion_tokens"] = ParameterKind.Integer,
        ["metadata"] = ParameterKind.Any,
        ["modalities"] = ParameterKind.List,
        ["moderation"] = ParameterKind.Any,
        ["n"] = ParameterKind.Integer,
        ["parallel_tool_calls"] = ParameterKind.Boolean,
        ["prediction"] = ParameterKind.Any,
        ["presence_penalty"] = ParameterKind.Number,
        ["prompt_cache_key"] = ParameterKind.Any,
        ["prompt_cache_options"] = ParameterKind.Any,
        ["prompt_cache_retention"] = ParameterKind.Any,
        ["reasoning_effort"] = ParameterKind.Any,
        ["response_format"] = ParameterKind.Schema,
        ["safety_identifier"] = ParameterKind.Any,
        ["seed"] = ParameterKind.Integer,
        ["service_tier"] = ParameterKind.Any,
        ["stop"] = ParameterKind.List,
        ["store"] = ParameterKind.Boolean,
        ["stream"] = ParameterKind.Stream,
        ["stream_options"] = ParameterKind.Any,
        ["tool_choice"] = ParameterKind.Any,
        ["tools"] = ParameterKind.Schemas,
        ["top_logprobs"] = ParameterKind.Integer,
        ["top_p"] = ParameterKind.Number,
        ["user"] = ParameterKind.Any,
        ["verbosity"] = ParameterKind.Any,
        ["web_search_options"] = ParameterKind.Any,

        // Fields that other daemons behind mod_socket_handoff take.
        ["assistant_id"] = ParameterKind.Foreign,
        ["attachment_types"] = ParameterKind.Foreign,
        ["attachments"] = ParameterKind.Foreign,
        ["backend_url"] = ParameterKind.Foreign,
        ["image_base64"] = ParameterKind.Foreign,
        ["image_mime_type"] = ParameterKind.Foreign,
        ["image_path"] = ParameterKind.Foreign,
        ["image_paths"] = ParameterKind.Foreign,
        ["images"] = ParameterKind.Foreign,
        ["langgraph_api_key"] = ParameterKind.Foreign,
        ["langgraph_input"] = ParameterKind.Foreign,
        ["langgraph_url"] = ParameterKind.Foreign,
        ["lg"] = ParameterKind.Foreign,
        ["profile"] = ParameterKind.Foreign,
        ["stream_mode"] = ParameterKind.Foreign,
        ["thread_id"] = ParameterKind.Foreign,
        ["timestamp"] = ParameterKind.Ignored,
    }.ToFrozenDictionary(StringComparer.Ordinal);
}
