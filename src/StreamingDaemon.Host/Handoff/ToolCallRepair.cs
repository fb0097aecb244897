using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Tool calls as PHP applications send them. Servers take a list of calls, whose <c>arguments</c> are JSON in
/// a string. Applications that decoded the arguments send the data itself, and some send one call without a
/// list.
/// </summary>
internal static class ToolCallRepair
{
    /// <summary>Whether <c>tool_calls</c> hold a call.</summary>
    /// <param name="reader">At the value; then at its last token.</param>
    /// <param name="isOdd">Set if servers would refuse its form.</param>
    public static bool HasCall(ref Utf8JsonReader reader, ref bool isOdd)
    {
        var isList = reader.TokenType == JsonTokenType.StartArray;
        if (!isList && !PhpArrays.IsList(reader))
        {
            var isCall = IsCall(reader);
            isOdd |= isCall;
            reader.Skip();
            return isCall;
        }

        isOdd |= !isList;
        var has = false;
        while (PhpArrays.ReadItem(ref reader))
        {
            has |= reader.TokenType == JsonTokenType.StartObject;
            isOdd |= Arguments(reader) is not null;
            reader.Skip();
        }

        return has;
    }

    /// <summary>Whether <c>function_call</c> is a call.</summary>
    /// <inheritdoc cref="HasCall"/>
    public static bool IsFunctionCall(ref Utf8JsonReader reader, ref bool isOdd)
    {
        var isCall = reader.TokenType == JsonTokenType.StartObject;
        isOdd |= ArgumentsOf(reader) is not null;
        reader.Skip();
        return isCall;
    }

    /// <summary>Writes the value of <c>tool_calls</c> or <c>function_call</c>.</summary>
    public static void Write(ReadOnlySpan<byte> json, bool isFunctionCall, IBufferWriter<byte> output)
    {
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        if (isFunctionCall)
        {
            WriteCall(json, ArgumentsOf(reader), output);
            return;
        }

        if (reader.TokenType == JsonTokenType.StartObject && !PhpArrays.IsList(reader))
        {
            output.Write("["u8);
            WriteCall(json, Arguments(reader), output);
            output.Write("]"u8);
            return;
        }

        var separator = "["u8;
        for (; PhpArrays.ReadItem(ref reader); separator = ","u8)
        {
            output.Write(separator);
            var (start, arguments) = ((int)reader.TokenStartIndex, Arguments(reader));
            var call = JsonText.Skip(ref reader, json);
            WriteCall(call, arguments is { } at ? (at.Start - start, at.End - start) : null, output);
        }

        output.Write("]"u8);
    }

    private static void WriteCall(
        ReadOnlySpan<byte> call, (int Start, int End)? arguments, IBufferWriter<byte> output)
    {
        if (arguments is not { } at)
        {
            output.Write(call);
            return;
        }

        output.Write(call[..at.Start]);
        var data = call[at.Start..at.End];
        // PHP's empty object, and a call without arguments.
        if (data.SequenceEqual("null"u8) || (data[0] == (byte)'[' && ParameterReader.IsEmptyArray(data)))
            data = "{}"u8;
        EncodedText.Write(data, output);
        output.Write(call[at.End..]);
    }

    private static bool IsCall(Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCalled = JsonText.Equals(ref reader, "function"u8)
                || JsonText.Equals(ref reader, "custom"u8);
            reader.Read();
            if (isCalled && reader.TokenType == JsonTokenType.StartObject)
                return true;
            reader.Skip();
        }

        return false;
    }

    /// <summary>Where the <c>function.arguments</c> of a call are, if they are not a string.</summary>
    private static (int Start, int End)? Arguments(Utf8JsonReader call)
    {
        if (call.TokenType != JsonTokenType.StartObject)
            return null;
        (int, int)? found = null;
        while (call.Read() && call.TokenType == JsonTokenType.PropertyName)
        {
            var isFunction = JsonText.Equals(ref call, "function"u8);
            call.Read();
            if (isFunction)
                found = ArgumentsOf(call);
            call.Skip();
        }

        return found;
    }

    private static (int Start, int End)? ArgumentsOf(Utf8JsonReader function)
    {
        if (function.TokenType != JsonTokenType.StartObject)
            return null;
        (int, int)? found = null;
        while (function.Read() && function.TokenType == JsonTokenType.PropertyName)
        {
            var isArguments = JsonText.Equals(ref function, "arguments"u8);
            function.Read();
            var (start, isText) = ((int)function.TokenStartIndex, function.TokenType == JsonTokenType.String);
            function.Skip();
            if (isArguments)
                found = isText ? null : (start, (int)function.BytesConsumed);
        }

        return found;
    }
}
