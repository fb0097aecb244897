using System.Globalization;
using System.Net;
using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Permission bits. As text always octal, as chmod reads it; a TOML number is the bits themselves.
/// </summary>
internal sealed class ModeType : OptionType<int>
{
    private const int MaxMode = 0x1FF; // 0o777

    public override string Expected => "an octal mode up to 0777, written \"0660\" or 0o660";
    public override string Range => "0000 to 0777, octal";

    public override string? Read(RawSetting raw, out int value)
    {
        value = 0;
        switch (raw.Kind)
        {
            case RawKind.LeadingZero:
                return $"{raw.Quoted} is not a TOML number, which has no leading zeros: " +
                    $"write \"{raw.Text}\" or 0o{raw.Text.TrimStart('0', '+', '-')}";
            case RawKind.Integer when raw.Number is >= 0 and <= MaxMode:
                value = (int)raw.Number;
                return null;
            case RawKind.Integer:
                return LooksOctal(raw.Text)
                    ? $"{raw.Quoted} is decimal here: write \"0{raw.Text}\" or 0o{raw.Text}"
                    : $"{raw.Quoted} is out of range";
            case RawKind.String or RawKind.Text:
                return ReadOctal(raw, out value);
            default:
                return WrongKind(raw);
        }
    }

    public override string Format(int value) => "0" + Convert.ToString(value, 8).PadLeft(3, '0');

    private static bool LooksOctal(string text) => text.Length == 3 && text.All(c => c is >= '0' and <= '7');

    private static string? ReadOctal(RawSetting raw, out int value)
    {
        value = 0;
        var prefixed = raw.Text.StartsWith("0o", StringComparison.OrdinalIgnoreCase);
        var digits = prefixed ? raw.Text[2..] : raw.Text;
        if (digits.Length == 0 || digits.Any(c => c is < '0' or > '7'))
            return $"{raw.Quoted} is not octal";
        digits = digits.TrimStart('0');
        if (digits.Length > 3)
            return $"{raw.Quoted} is out of range";
        value = digits.Length == 0 ? 0 : Convert.ToInt32(digits, 8);
        return null;
    }
}

/// <summary>The path of a Unix socket: what fits into sockaddr_un with its terminating zero.</summary>
internal sealed class SocketPathType(bool required) : OptionType<string?>
{
    /// <summary>sun_path holds 108 bytes.</summary>
    public const int MaxBytes = 107;

    public override string Expected => $"the path of a Unix socket, at most {MaxBytes} bytes";
    public override string Range => $"at most {MaxBytes} bytes";

    public override string? Read(RawSetting raw, out string? value)
    {
        value = null;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        if (raw.Text.Length == 0)
            return required ? "the path is empty" : null;
        if (raw.Text.Contains('\0'))
            return "the path holds a zero byte";
        if (raw.Text.EndsWith('/'))
            return $"{raw.Quoted} names a directory";
        var bytes = Encoding.UTF8.GetByteCount(raw.Text);
        if (bytes > MaxBytes)
            return $"the path is {bytes} bytes long, and the kernel takes {MaxBytes} (sockaddr_un)";
        value = raw.Text;
        return null;
    }

    public override string Format(string? value) => value ?? "";
}

/// <summary>The path of a file that a backend reads at the start; null if empty.</summary>
internal sealed class FilePathType : OptionType<string?>
{
    public override string Expected => "the path of a file";
    public override string Range => "path";

    public override string? Read(RawSetting raw, out string? value)
    {
        value = null;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        if (raw.Text.Contains('\0'))
            return "the path holds a zero byte";
        value = raw.Text.Length == 0 ? null : raw.Text;
        return null;
    }

    public override string Format(string? value) => value ?? "";
}

/// <summary>An API key. No message ever shows it.</summary>
internal sealed class SecretType : OptionType<string>
{
    public override string Expected => "a key without spaces and line breaks";
    public override string Range => "no spaces, no quotes";

    public override string? Read(RawSetting raw, out string value)
    {
        value = "";
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return "the value is not a string";
        if (raw.Text.Length > 0 && (IsQuote(raw.Text[0]) || IsQuote(raw.Text[^1])))
            return "the value stands in quotes, which would be sent with it";
        if (raw.Text.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
            return "the value begins with the word Bearer, which the daemon adds itself";
        var at = raw.Text.AsSpan().IndexOfAnyExceptInRange('!', '~');
        if (at >= 0)
        {
            var isEnd = raw.Text.AsSpan(at).IndexOfAnyInRange('!', '~') < 0;
            var where = at == 0 ? "begins with" : isEnd ? "ends with" : "holds";
            return $"the value {where} {NameOf(raw.Text[at])}, which no HTTP header may hold";
        }

        value = raw.Text;
        return null;
    }

    public override string Format(string value) => value;

    /// <summary>Names a character that cannot be seen. One that can be is not shown: it may belong to the
    /// key.</summary>
    private static string NameOf(char c) => c switch
    {
        ' ' => "a space",
        '\t' => "a tab",
        '\r' or '\n' => "a line break",
        '\0' => "a zero byte",
        '\u00a0' => "a no-break space (U+00A0)",
        '\u200b' => "a zero-width space (U+200B)",
        '\ufeff' => "a byte order mark (U+FEFF)",
        _ when char.IsControl(c) || char.GetUnicodeCategory(c) == UnicodeCategory.Format
            || char.IsWhiteSpace(c) => $"an invisible character (U+{(int)c:X4})",
        _ => "a character that is not ASCII",
    };

    private static bool IsQuote(char c) => c is '"' or '\'' or '`';
}

/// <summary>An http or https address. It may carry credentials, so no message shows it.</summary>
internal sealed class UrlType : OptionType<Uri>
{
    private static readonly Uri s_none = new("http://localhost");

    public override string Expected => "an http or https URL such as https://api.openai.com/v1";
    public override string Range => "http or https URL";

    public override string? Read(RawSetting raw, out Uri value)
    {
        value = s_none;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return "the value is not a string";
        var text = raw.Text.Trim();
        if (text is ['"' or '\'', ..] or [.., '"' or '\''])
            return "the URL is in quotes: remove them";
        // Checked before parsing: the parser takes localhost:11434/v1 for a URL with the scheme localhost.
        if (!text.StartsWith("http://", StringComparison.OrdinalIgnoreCase)
            && !text.StartsWith("https://", StringComparison.OrdinalIgnoreCase))
        {
            return "the URL does not begin with http:// or https://";
        }

        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri))
            return "the value is not an absolute URL";
        if (uri.Host is "http" or "https" && uri.AbsolutePath.StartsWith("//", StringComparison.Ordinal))
            return "the URL has its scheme twice: write http:// or https:// once";
        if (uri.Fragment.Length > 0)
            return "the URL has a fragment, which is sent to no server: remove # and what follows it";
        if (uri.UserInfo.Length > 0)
        {
            return "the URL holds a user or a password, which is not sent: remove that part and the "
                + "@ after it; a key has an option of its own";
        }

        if (uri.Port == 0)
            return "the URL has port 0, on which no server can listen";
        value = uri;
        return null;
    }

    public override string Format(Uri value) => value.OriginalString;
}

/// <summary>As <see cref="UrlType"/>; null if empty.</summary>
internal sealed class OptionalUrlType : OptionType<Uri?>
{
    private static readonly UrlType s_url = new();

    public override string Expected => "an http or https URL such as http://127.0.0.1/chat/deliver.php";
    public override string Range => s_url.Range;

    public override string? Read(RawSetting raw, out Uri? value)
    {
        value = null;
        if (raw.Kind is RawKind.String or RawKind.Text && raw.Text.Length == 0)
            return null;
        var problem = s_url.Read(raw, out var url);
        if (problem is null)
            value = url;
        return problem;
    }

    public override string Format(Uri? value) => value?.OriginalString ?? "";
}

/// <summary>The path of a directory.</summary>
internal sealed class DirectoryPathType : OptionType<string>
{
    public override string Expected => "the path of a directory";
    public override string Range => "path";

    public override string? Read(RawSetting raw, out string value)
    {
        value = raw.Text;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        if (raw.Text.Length == 0)
            return "the path is empty";
        return raw.Text.Contains('\0') ? "the path holds a zero byte" : null;
    }

    public override string Format(string value) => value;
}

/// <summary>The address that a listener binds to.</summary>
internal sealed class AddressType : OptionType<string>
{
    public override string Expected => "an IP address such as 127.0.0.1, 0.0.0.0 or ::";
    public override string Range => "IP address";

    public override string? Read(RawSetting raw, out string value)
    {
        value = "";
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        // IPAddress also takes "1" for 0.0.0.1, which nobody means.
        if (!IPAddress.TryParse(raw.Text, out _) || !raw.Text.AsSpan().ContainsAny('.', ':'))
            return $"{raw.Quoted} is not an IP address";
        value = raw.Text;
        return null;
    }

    public override string Format(string value) => value;
}

/// <summary>A name that must not be empty.</summary>
internal sealed class NameType(string what) : OptionType<string>
{
    public override string Expected => what;
    public override string Range => "not empty";

    public override string? Read(RawSetting raw, out string value)
    {
        value = raw.Text;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        return string.IsNullOrWhiteSpace(raw.Text) ? "the value is empty" : null;
    }

    public override string Format(string value) => value;
}

/// <summary>A group, by name or number; the start finds out whether the machine has it.</summary>
internal sealed class GroupType : OptionType<string>
{
    public override string Expected => "the name or the number of a group";
    public override string Range => "name or number";

    public override string? Read(RawSetting raw, out string value)
    {
        value = raw.Kind == RawKind.Integer ? $"{raw.Number}" : raw.Text;
        if (raw.Kind is not (RawKind.String or RawKind.Text or RawKind.Integer))
            return WrongKind(raw);
        return raw.Text.Any(c => char.IsWhiteSpace(c) || c is ':' or '\0')
            ? $"{raw.Quoted} holds a space or a colon"
            : null;
    }

    public override string Format(string value) => value;
}
