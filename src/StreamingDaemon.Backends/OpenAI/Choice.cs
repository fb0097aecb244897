using System.Buffers.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>One choice's fields besides its delta.</summary>
/// <param name="position">Its index, if it names none.</param>
internal struct Choice(int position)
{
    public int Index = position;
    public int MessageAt = -1;
    public int TextAt = -1;
    public string? FinishReason;

    /// <summary>Counts if there is no finish reason. vLLM has it beside one: the token or text that
    /// stopped it.</summary>
    public string? StopReason;
    public string? NativeFinishReason;
    public bool HasDelta;
    public bool IsFailed;

    public static bool NamesFinish(ref Utf8JsonReader reader) =>
        JsonText.Equals(ref reader, "finish_reason"u8) || JsonText.Equals(ref reader, "finishReason"u8)
        || JsonText.Equals(ref reader, "finish_details"u8);

    /// <summary>Reads the field that the reader is at, if it says why the choice ended.</summary>
    /// <returns>False if it does not: nothing was read.</returns>
    public bool TryReadFinish(ref Utf8JsonReader reader)
    {
        if (NamesFinish(ref reader))
        {
            reader.Read();
            FinishReason = FinishReasons.Read(ref reader) ?? FinishReason;
        }
        else if (JsonText.Equals(ref reader, "native_finish_reason"u8))
        {
            reader.Read();
            NativeFinishReason = FinishReasons.Read(ref reader);
        }
        else if (JsonText.Equals(ref reader, "stop_reason"u8))
        {
            reader.Read();
            StopReason = FinishReasons.Read(ref reader);
        }
        else
        {
            return false;
        }

        return true;
    }

    /// <summary>Reads the value of <c>index</c>: a number, or a number in a string.</summary>
    public void ReadIndex(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Number)
        {
            if (!reader.TryGetInt32(out Index))
                Index = -1;
        }
        else if (reader.TokenType == JsonTokenType.String
            && Utf8Parser.TryParse(reader.ValueSpan, out int index, out var length)
            && length == reader.ValueSpan.Length)
        {
            Index = index;
        }

        reader.Skip();
    }
}

/// <summary>What is known of one JSON value while it is read.</summary>
/// <param name="start">The state before it.</param>
/// <param name="isOther">Its event has a name.</param>
/// <param name="ends">Told which choices end; null if the stream shows one choice.</param>
internal ref struct ValueState(AnswerParts.State start, bool isOther, ChoiceEnds? ends)
{
    public readonly AnswerParts.State Start = start;
    public readonly bool IsOther = isOther;
    public readonly ChoiceEnds? Ends = ends;

    /// <summary>The index whose choice was taken from it.</summary>
    public int? Taken;

    /// <summary>A choice has no object <c>delta</c>.</summary>
    public bool LacksDelta;
}

/// <summary>Which of several choices have ended.</summary>
internal sealed class ChoiceEnds
{
    /// <summary>A bit each. Nobody asks for more choices.</summary>
    private const int MostChoices = 64;

    private ulong _begun;
    private ulong _ended;
    private bool _areAllEnded;

    /// <summary>A choice has begun and not ended. Old servers count the index up instead, and never begin
    /// with 0: theirs is one choice.</summary>
    public bool IsOneOpen => (_begun & 1) != 0 && (_begun & ~_ended) != 0 && !_areAllEnded;

    /// <summary>A finish reason stands beside the choices.</summary>
    public void AddAll() => _areAllEnded = true;

    public void Add(int index, bool isEnd)
    {
        if (index is < 0 or >= MostChoices)
            return;
        _begun |= 1UL << index;
        if (isEnd)
            _ended |= 1UL << index;
    }
}

/// <summary>Which choice the stream shows: choice 0 alone, once there is one. Without it, a lone choice of
/// any index is shown; old servers count it up with each chunk.</summary>
internal struct ShownChoice()
{
    /// <summary>The only index that counts, once it is known.</summary>
    private int? _only;
    private int _last = -1;

    /// <summary>Whether the stream shows the choice of that index.</summary>
    /// <param name="index">The choice's.</param>
    /// <param name="taken">The index that was taken from the same JSON value, if any.</param>
    public bool Takes(int index, int? taken)
    {
        if (index == 0)
        {
            _only = 0;
            return true;
        }

        if (_only is { } only)
            return index == only;
        if (taken is { } other)
            return index == other;
        // The index went back: there are several choices, and this is the first of them.
        if (index < _last)
            _only = index;
        _last = index;
        return true;
    }
}
