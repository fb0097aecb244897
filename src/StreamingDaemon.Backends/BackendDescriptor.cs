namespace StreamingDaemon.Backends;

/// <summary>
/// All that the daemon knows of one kind of backend. The configuration, the help, the reference pages,
/// <c>check</c> and the composition root read it. Stateless; safe for concurrent use. To be derived from by
/// <see cref="BackendDescriptor{TOptions}"/>.
/// </summary>
/// <remarks>
/// Its life: (1) it is listed in <see cref="BackendDescriptors.BuiltIn"/>; (2) the configuration makes a
/// section of its <see cref="Options"/>, and fails at start if two have the same name;
/// (3) <see cref="Validate"/> sees what was read; (4) if that is valid, <see cref="WithLimits"/> adds the
/// limits that all backends share; (5) <see cref="Create"/> is called once, before the first stream.
/// </remarks>
public abstract class BackendDescriptor
{
    /// <summary>Chooses it: in <c>backend.name</c> and in the handoff's <c>backend</c>. Also the section of
    /// its options, so it is snake_case.</summary>
    public abstract string Name { get; }

    /// <summary>One sentence for the reference page: what it does and what it needs.</summary>
    public abstract string Summary { get; }

    /// <summary>A record of options with their defaults, equal to another with the same values.</summary>
    public abstract object Defaults { get; }

    /// <summary>Every option, in the order of the reference pages.</summary>
    public abstract IReadOnlyList<BackendOption> Options { get; }

    /// <summary>What is missing or contradictory, with what to set; null if the backend can be made. One that
    /// cannot is left out, or refuses the start if it is the one that is configured to answer.</summary>
    public abstract string? Validate(object options);

    /// <summary>A copy of the options with the limits that it has a use for.</summary>
    public abstract object WithLimits(object options, BackendLimits limits);

    /// <summary>What <c>check</c> looks at besides the configuration.</summary>
    public abstract IEnumerable<BackendCheck> Checks(object options);

    /// <summary>File descriptors (nofile) that a stream takes in the worst case, its client's not
    /// counted.</summary>
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
    public sealed override object WithLimits(object options, BackendLimits limits) =>
        WithLimits((TOptions)options, limits);

    /// <inheritdoc/>
    public sealed override IEnumerable<BackendCheck> Checks(object options) => Checks((TOptions)options);

    /// <inheritdoc/>
    public sealed override int DescriptorsPerStream(object options) =>
        DescriptorsPerStream((TOptions)options);

    /// <inheritdoc/>
    public sealed override IStreamingBackend Create(object options, BackendContext context) =>
        Create((TOptions)options, context);

    /// <inheritdoc cref="BackendDescriptor.Validate"/>
    protected virtual string? Validate(TOptions options) => null;

    /// <inheritdoc cref="BackendDescriptor.WithLimits"/>
    protected virtual TOptions WithLimits(TOptions options, BackendLimits limits) => options;

    /// <inheritdoc cref="BackendDescriptor.Checks"/>
    protected virtual IEnumerable<BackendCheck> Checks(TOptions options) => [];

    /// <inheritdoc cref="BackendDescriptor.DescriptorsPerStream"/>
    protected virtual int DescriptorsPerStream(TOptions options) => 0;

    /// <inheritdoc cref="BackendDescriptor.Create"/>
    protected abstract IStreamingBackend Create(TOptions options, BackendContext context);

    /// <summary>Makes an option of a property of <typeparamref name="TOptions"/>.</summary>
    /// <param name="name">Its key.</param>
    /// <param name="value">What it takes.</param>
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
/// <param name="ConnectTimeoutMs">Milliseconds until a connection to an upstream must stand.</param>
/// <param name="MaxEventBytes">Longest event accepted from an upstream, bytes.</param>
public sealed record BackendLimits(int ConnectTimeoutMs, int MaxEventBytes);

/// <summary>What the host gives a backend when it is made.</summary>
public sealed record BackendContext
{
    /// <summary>It answers the requests that name no other: prepare it before the first stream.</summary>
    public bool IsDefault { get; init; }

    /// <summary>Told of what is written together; null if nobody wants to know.</summary>
    public IWriteBatch? WriteBatch { get; init; }
}

/// <summary>A look at what a backend needs, for <c>check</c>.</summary>
/// <param name="Name">First column of its line.</param>
/// <param name="Look">Looks. May hang.</param>
/// <param name="IfItHangs">The finding if it does.</param>
public sealed record BackendCheck(string Name, Func<BackendFinding> Look, string IfItHangs);

/// <summary>What a look found.</summary>
/// <param name="IsGood">False is a warning: requests would fail.</param>
/// <param name="Detail">What is there, or what is wrong with it.</param>
public sealed record BackendFinding(bool IsGood, string Detail);
