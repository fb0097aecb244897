using StackExchange.Redis.Configuration;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>The user and the password of Redis. The password's file is read again for each connection: one
/// that changes needs no restart.</summary>
internal sealed class RedisPassword : DefaultOptionsProvider
{
    /// <summary>Redis before 6 knows no users: this one is not named to it.</summary>
    private const string DefaultUser = "default";

    private readonly RepeatedRead<string>? _file;
    private readonly string _user;
    private string? _last;

    /// <exception cref="IOException">The file holds no usable password.</exception>
    public RedisPassword(AnswerOptions options)
    {
        _user = options.RedisUser;
        if (options.RedisPasswordFile is not { } path)
            return;
        if (SecretFile.TryRead(path, out _last) is { } problem)
            throw new IOException($"answers.redis_password_file: {ShownValue.Of(path)}: {problem}");
        _file = new RepeatedRead<string>(() => SecretFile.Read(path));
    }

    public override string? User => _user == DefaultUser ? null : _user;

    /// <remarks>If the file cannot be read at the moment, its last password is used.</remarks>
    public override string? Password => _file is null ? null
        : _file.Read() is { } key ? _last = key : Volatile.Read(ref _last);
}
