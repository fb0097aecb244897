namespace StreamingDaemon.Backends;

/// <summary>What values an option takes. The host reads, checks and prints them.</summary>
/// <typeparam name="T">What the option is in the backend's record.</typeparam>
public abstract record OptionValue<T>
{
    private protected OptionValue()
    {
    }
}

/// <summary>A whole number, both ends included.</summary>
public sealed record IntegerValue(int Min, int Max) : OptionValue<int>;

/// <summary>true or false.</summary>
public sealed record SwitchValue : OptionValue<bool>;

/// <summary>true, false, or null if unset: the backend decides.</summary>
public sealed record AutoSwitchValue : OptionValue<bool?>;

/// <summary>Text that is not empty.</summary>
/// <param name="What">Completes "expected …": "the name of a model".</param>
public sealed record NameValue(string What) : OptionValue<string>;

/// <summary>A key. No message ever shows it. Empty if unset.</summary>
public sealed record SecretValue : OptionValue<string>;

/// <summary>The path of a file that holds a key, or null if unset
/// (<see cref="BackendDescriptor.SecretFiles"/>).</summary>
public sealed record SecretFileValue : OptionValue<string?>;

/// <summary>One of a few words.</summary>
public sealed record ChoiceValue(params IReadOnlyList<string> Words) : OptionValue<string>;

/// <summary>An http or https URL. No message shows it: it may hold a password.</summary>
public sealed record UrlValue : OptionValue<Uri>;

/// <summary>The path of a Unix socket, or null if unset.</summary>
public sealed record SocketPathValue : OptionValue<string?>;

/// <summary>The path of a file to read, or null if unset.</summary>
public sealed record FilePathValue : OptionValue<string?>;

/// <summary>How an option is spelled on the command line. A switch has no
/// <paramref name="ValueName"/>.</summary>
public sealed record OptionOnCommandLine(
    string LongName, string? ShortName = null, string? ValueName = null);

/// <summary>One option of a backend: the key <paramref name="Name"/> in the backend's section, with its
/// variable, its help and its line in the reference pages.</summary>
/// <param name="Name">snake_case. Also the end of <c>STREAMING_DAEMON_SECTION__NAME</c>.</param>
public abstract record BackendOption(string Name)
{
    /// <summary>What it is for, with its unit. No full stop.</summary>
    public required string Description { get; init; }

    /// <summary>Why the default is what it is, or what another value costs.</summary>
    public required string Cost { get; init; }

    /// <summary>A variable that other programs read too; null if there is none.</summary>
    public string? Variable { get; init; }

    /// <summary>Null if the option is not on the command line.</summary>
    public OptionOnCommandLine? CommandLine { get; init; }

    /// <summary>True if setting it means that this backend is wanted: it is then the default, unless
    /// <c>backend.name</c> is set.</summary>
    public bool ChoosesBackend { get; init; }

    /// <summary>True if a running backend takes a new value (<see cref="IStreamingBackend.Apply"/>).
    /// </summary>
    public bool Reloadable { get; init; }

    /// <summary>Older names, which a file may use outside the section.</summary>
    public IReadOnlyList<string> FlatNames { get; init; } = [];
}

/// <inheritdoc/>
/// <param name="Name">See <see cref="BackendOption"/>.</param>
/// <param name="Value">The values it takes.</param>
/// <param name="Get">Reads it from the backend's options.</param>
/// <param name="Set">A copy of the backend's options with this one set.</param>
public sealed record BackendOption<T>(
    string Name, OptionValue<T> Value, Func<object, T> Get, Func<object, T, object> Set)
    : BackendOption(Name);

/// <summary>A file that a backend uses. The host reads it, at the start and at each reload.</summary>
/// <param name="Path">Names the file; a <see cref="FilePathValue"/>.</param>
/// <param name="Content">What is in it; null if no file is named. No source sets it.</param>
public sealed record FileOption(BackendOption<string?> Path, BackendOption<string?> Content);

/// <summary>A key that may also come from a file. The host reads the file, and refuses a configuration that
/// sets both.</summary>
/// <param name="Path">Names the file; a <see cref="SecretFileValue"/>.</param>
/// <param name="Secret">What its content sets; a <see cref="SecretValue"/>.</param>
public sealed record SecretFileOption(BackendOption<string?> Path, BackendOption<string> Secret);
