using StackExchange.Redis.Configuration;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>The user and the password of Redis. The password's file is read again for each connection: one
/// that changes needs no restart.</summary>
internal sealed class RedisPassword : DefaultOptionsProvider
{
    /// <summary>Redis before 6 knows no users: this one is not named to it.</summary>
    private const string DefaultUser = "default";

    private readonly string? _file;
    private readonly string _user;
    private string? _last;

    /// <exception cref="IOException">The file holds no usable password.</exception>
    public RedisPassword(AnswerOptions options)
    {
        (_file, _user) = (options.RedisPasswordFile, options.RedisUser);
        if (_file is not null && SecretFile.TryRead(_file, out _last) is { } problem)
            throw new IOException($"answers.redis_password_file: {ShownValue.Of(_file)}: {problem}");
    }

    public override string? User => _user == DefaultUser ? null : _user;

    /// <remarks>While the file is replaced, the last one holds.</remarks>
    public override string? Password => _file is null ? null
        : SecretFile.Read(_file) is { } key ? _last = key : Volatile.Read(ref _last);
}
