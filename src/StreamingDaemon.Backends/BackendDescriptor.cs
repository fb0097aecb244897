namespace StreamingDaemon.Backends;

/// <summary>
/// Everything the daemon knows about one kind of backend. The configuration, the help, the reference pages,
/// <c>check</c> and the composition root read it. Stateless; safe for concurrent use. Derive from
/// <see cref="BackendDescriptor{TOptions}"/>.
/// </summary>
/// <remarks>
/// Its life cycle: (1) <see cref="BackendDescriptors.BuiltIn"/> lists it; (2) the configuration makes a
/// section from its <see cref="Options"/>, and fails at start if two have the same name; (3)
/// <see cref="Validate"/> checks the options that were read; (4) if they are valid, <see cref="WithLimits"/>
/// adds the limits that all backends share; (5) <see cref="Create"/> is called once, before the first stream.
/// </remarks>
public abstract class BackendDescriptor
{
    /// <summary>Selects the backend in <c>backend.name</c> and in the handoff's <c>backend</c>. It also names
    /// the section of its options, so it is snake_case.</summary>
    public abstract string Name { get; }

    /// <summary>One sentence for the reference page: what it does and what it needs.</summary>
    public abstract string Summary { get; }

    /// <summary>A record of options with their defaults, equal to another with the same values.</summary>
    public abstract object Defaults { get; }

    /// <summary>Every option, in the order of the reference pages.</summary>
    public abstract IReadOnlyList<BackendOption> Options { get; }

    /// <summary>The keys that may also come from a file.</summary>
    public virtual IReadOnlyList<SecretFileOption> SecretFiles => [];

    /// <summary>Other files whose content the backend needs.</summary>
    public virtual IReadOnlyList<FileOption> Files => [];

    /// <summary>What is missing or contradictory, and what to set; null if the backend can be made. A backend
    /// that cannot be made is left out. If it is the configured default, the daemon refuses to
    /// start.</summary>
    public abstract string? Validate(object options);

    /// <summary>A copy of the options with the limits that the backend uses.</summary>
    public abstract object WithLimits(object options, BackendLimits limits);

    /// <summary>What is wrong with options that are valid, for the log at the start and at a reload; null if
    /// nothing is known.</summary>
    public abstract string? Warn(object options);

    /// <summary>What <c>check</c> tests besides the configuration.</summary>
    public abstract IEnumerable<BackendCheck> Checks(object options);

    /// <summary>Asks the upstream for one token, for <c>check --upstream</c>.</summary>
    /// <param name="options">Valid options.</param>
    /// <param name="cancellationToken">Ends the wait for the upstream.</param>
    /// <returns>What each step was like, in order; nothing if the backend asks nobody.</returns>
    public abstract Task<IReadOnlyList<UpstreamFinding>> ProbeAsync(
        object options, CancellationToken cancellationToken);

    /// <summary>File descriptors (nofile) that a stream takes in the worst case, without its
    /// client's.</summary>
    public abstract int DescriptorsPerStream(object options);

    /// <summary>Makes the backend. If it is disposable, its owner disposes it.</summary>
    public abstract IStreamingBackend Create(object options, BackendContext context);
}

/// <inheritdoc/>
/// <typeparam name="TOptions">The backend's own record of options.</typeparam>
public abstract class BackendDescriptor<TOptions> : BackendDescriptor
    where TOptions : class
{
    /// <inheritdoc/>
    public sealed override object Defaults => DefaultOptions;

    /// <inheritdoc cref="BackendDescriptor.Defaults"/>
    protected abstract TOptions DefaultOptions { get; }

    /// <inheritdoc/>
    public sealed override string? Validate(object options) => Validate((TOptions)options);

    /// <inheritdoc/>
    public sealed override string? Warn(object options) => Warn((TOptions)options);

    /// <inheritdoc/>
    public sealed override object WithLimits(object options, BackendLimits limits) =>
        WithLimits((TOptions)options, limits);

    /// <inheritdoc/>
    public sealed override IEnumerable<BackendCheck> Checks(object options) => Checks((TOptions)options);

    /// <inheritdoc/>
    public sealed override Task<IReadOnlyList<UpstreamFinding>> ProbeAsync(
        object options, CancellationToken cancellationToken) =>
        ProbeAsync((TOptions)options, cancellationToken);

    /// <inheritdoc/>
    public sealed override int DescriptorsPerStream(object options) =>
        DescriptorsPerStream((TOptions)options);

    /// <inheritdoc/>
    public sealed override IStreamingBackend Create(object options, BackendContext context) =>
        Create((TOptions)options, context);

    /// <inheritdoc cref="BackendDescriptor.Validate"/>
    protected virtual string? Validate(TOptions options) => null;

    /// <inheritdoc cref="BackendDescriptor.Warn"/>
    protected virtual string? Warn(TOptions options) => null;

    /// <inheritdoc cref="BackendDescriptor.WithLimits"/>
    protected virtual TOptions WithLimits(TOptions options, BackendLimits limits) => options;

    /// <inheritdoc cref="BackendDescriptor.Checks"/>
    protected virtual IEnumerable<BackendCheck> Checks(TOptions options) => [];

    /// <inheritdoc cref="BackendDescriptor.ProbeAsync"/>
    protected virtual Task<IReadOnlyList<UpstreamFinding>> ProbeAsync(
        TOptions options, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<UpstreamFinding>>([]);

    /// <inheritdoc cref="BackendDescriptor.DescriptorsPerStream"/>
    protected virtual int DescriptorsPerStream(TOptions options) => 0;

    /// <inheritdoc cref="BackendDescriptor.Create"/>
    protected abstract IStreamingBackend Create(TOptions options, BackendContext context);

    /// <summary>Makes an option from a property of <typeparamref name="TOptions"/>.</summary>
    /// <param name="name">Its key.</param>
    /// <param name="value">The values it takes.</param>
    /// <param name="get">Reads the property.</param>
    /// <param name="set">A copy with the property set.</param>
    /// <param name="description">What it is for, with its unit.</param>
    /// <param name="cost">Why the default is what it is, or what another value costs.</param>
    protected static BackendOption<T> Option<T>(string name, OptionValue<T> value, Func<TOptions, T> get,
        Func<TOptions, T, TOptions> set, string description, string cost) =>
        new(name, value, options => get((TOptions)options), (options, v) => set((TOptions)options, v))
        {
            Description = description,
            Cost = cost,
        };
}

/// <summary>Limits that are configured once for all upstreams.</summary>
/// <param name="ConnectTimeoutMs">Time limit for connecting to an upstream, milliseconds.</param>
/// <param name="MaxEventBytes">Longest event accepted from an upstream, bytes.</param>
public sealed record BackendLimits(int ConnectTimeoutMs, int MaxEventBytes);

/// <summary>What the host gives a backend when it is made.</summary>
public sealed record BackendContext
{
    /// <summary>True if it answers the requests that name no backend: prepare it before the first
    /// stream.</summary>
    public bool IsDefault { get; init; }

    /// <summary>Told which writes belong together; null if nothing listens.</summary>
    public IWriteBatch? WriteBatch { get; init; }

    /// <summary>Reads the key in a file again, if the upstream refuses the one in use; null if there is none
    /// that can be used. May hang.</summary>
    public Func<string, string?>? ReadSecretFile { get; init; }
}

/// <summary>One test of what a backend needs, for <c>check</c>.</summary>
/// <param name="Name">First column of its line.</param>
/// <param name="Look">Runs the test. May hang.</param>
/// <param name="IfItHangs">The finding if the test hangs.</param>
public sealed record BackendCheck(string Name, Func<BackendFinding> Look, string IfItHangs);

/// <summary>What a test found.</summary>
/// <param name="IsGood">False is a warning: requests would fail.</param>
/// <param name="Detail">What is there, or what is wrong with it.</param>
public sealed record BackendFinding(bool IsGood, string Detail);

/// <summary>What one step of a request to an upstream was like.</summary>
/// <param name="Name">The step: first column of its line.</param>
/// <param name="IsGood">False if requests fail at this step.</param>
/// <param name="Detail">What it was like; or what is wrong, and how to fix it. It may quote names that the
/// upstream sent, never a key.</param>
public sealed record UpstreamFinding(string Name, bool IsGood, string Detail);
