using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>Keys and addresses as operators really write them.</summary>
public sealed class KeyFileTests : IDisposable
{
    private const string Secret = "S3CR3T";
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Theory]
    [InlineData("sk-1")]
    [InlineData("sk-1\n")]
    [InlineData("sk-1\r\n")]
    public void Key_is_the_files_content_without_one_line_end(string content)
    {
        _sandbox.Environment["OPENAI_API_KEY_FILE"] = _sandbox.Write("key", content);

        var openAI = _sandbox.LoadToml("[streaming]\nmax_event_bytes = 5000\n").OpenAI!;

        Assert.Equal(("sk-1", _sandbox.PathOf("key"), 5000), (openAI.ApiKey, openAI.ApiKeyFile, openAI.MaxEventBytes));
    }

    [Fact]
    public void Key_and_key_file_are_refused_together_by_name()
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-" + Secret;

        var error = _sandbox.TomlError($"[openai]\napi_key_file = \"{_sandbox.Write("key", Secret)}\"\n");

        Assert.Equal("openai.api_key_file (OPENAI_API_KEY_FILE): openai.api_key (OPENAI_API_KEY) is set too; "
            + "keep one of the two", error);
    }

    [Theory]
    [InlineData("", "key: is empty; expected a key")]
    [InlineData("\n", "key: is empty; expected a key")]
    [InlineData("S3CR3T\n\n", "key: the value ends with a line break, which no HTTP header may hold")]
    [InlineData(" S3CR3T", "key: the value begins with a space, which")]
    [InlineData("S3CR3T\tS3CR3T", "key: the value holds a tab, which")]
    [InlineData("\"S3CR3T\"", "key: the value stands in quotes, which would be sent with it")]
    [InlineData("'S3CR3T", "key: the value stands in quotes")]
    [InlineData("Bearer S3CR3T", "key: the value begins with the word Bearer, which the daemon adds itself")]
    [InlineData("\ufeffS3CR3T", "key: the value begins with a byte order mark (U+FEFF), which")]
    [InlineData("S3CR3T\u200b", "key: the value ends with a zero-width space (U+200B), which")]
    [InlineData("S3CR3T\u00a0S3CR3T", "key: the value holds a no-break space (U+00A0), which")]
    [InlineData("S3CR3T\u202c", "key: the value ends with an invisible character (U+202C), which")]
    [InlineData("S3CR3T\u0435", "key: the value ends with a character that is not ASCII, which")]
    [InlineData("S3CR3T\0", "key: the value ends with a zero byte, which")]
    public void Content_that_is_no_key_is_refused_by_name_and_not_shown(string content, string problem)
    {
        _sandbox.Environment["OPENAI_API_KEY_FILE"] = _sandbox.Write("key", content);

        var error = Assert.Single(_sandbox.Errors());

        Assert.StartsWith("openai.api_key_file (OPENAI_API_KEY_FILE): " + problem, error, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(OddFileKind.Fifo, "is a FIFO or a pipe; expected a regular file")]
    [InlineData(OddFileKind.Directory, "is a directory; expected a regular file")]
    [InlineData(OddFileKind.LinkToEndlessDevice, "is a character device; expected a regular file")]
    [InlineData(OddFileKind.Sparse3GB, "is larger than 1 MiB, the most that is read")]
    public void Path_that_is_no_file_with_a_key_is_refused_by_name(OddFileKind kind, string problem)
    {
        OddFile.Place(_sandbox.PathOf("key"), kind);
        _sandbox.Environment["OPENAI_API_KEY_FILE"] = _sandbox.PathOf("key");

        Assert.Equal([$"openai.api_key_file (OPENAI_API_KEY_FILE): key: {problem}"], _sandbox.Errors());
    }

    [Fact]
    public void File_that_is_missing_or_far_too_long_for_a_key_is_refused_by_name()
    {
        _sandbox.Environment["OPENAI_API_KEY_FILE"] = _sandbox.PathOf("key");
        Assert.Equal(["openai.api_key_file (OPENAI_API_KEY_FILE): key: cannot be read: No such file or directory"],
            _sandbox.Errors());

        _sandbox.Write("key", new string('k', 20_000));
        Assert.Equal(
            ["openai.api_key_file (OPENAI_API_KEY_FILE): key: is larger than 16384 bytes; expected a key"],
            _sandbox.Errors());
    }

    [Theory]
    [InlineData("\"sk-S3CR3T\"")]
    [InlineData("'sk-S3CR3T'")]
    [InlineData("`sk-S3CR3T`")]
    [InlineData("sk-S3CR3T\"")]
    [InlineData("\u201csk-S3CR3T\u201d")]
    [InlineData("Bearer sk-S3CR3T")]
    [InlineData("bearer sk-S3CR3T")]
    [InlineData("sk-S3CR3T\n")]
    [InlineData("sk-S3CR3T\t")]
    [InlineData("sk-S3CR3T\u00a0")]
    [InlineData("sk-S3CR3T\u200b")]
    [InlineData("sk-S3CR3T\u007f")]
    public void Key_that_cannot_be_meant_is_refused_by_its_variable_and_not_shown(string key)
    {
        _sandbox.Environment["OPENAI_API_KEY"] = key;

        var error = Assert.Single(_sandbox.Errors());

        Assert.StartsWith("OPENAI_API_KEY: the value ", error, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(" https://host/v1 ", "https://host/v1")]
    [InlineData("https://host/v1/chat/completions\n", "https://host/v1/chat/completions")]
    [InlineData("https://host/openai/deployments/x?api-version=2024-10-21",
        "https://host/openai/deployments/x?api-version=2024-10-21")]
    public void Address_with_spaces_around_it_an_endpoint_or_a_query_is_taken(string text, string address)
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-1";
        _sandbox.Environment["OPENAI_API_BASE"] = text;

        Assert.Equal(address, _sandbox.Load().OpenAI!.ApiBase.OriginalString);
    }

    [Theory]
    [InlineData("https://host/v1#S3CR3T",
        "the URL has a fragment, which is sent to no server: remove # and what follows it")]
    [InlineData("https://user:S3CR3T@host/v1", "the URL holds a user or a password, which is not sent: "
        + "remove that part and the @ after it; a key has an option of its own")]
    [InlineData("\"https://host/v1\"", "the URL is in quotes: remove them")]
    [InlineData("localhost:11434/v1", "the URL does not begin with http:// or https://")]
    [InlineData("//host/v1", "the URL does not begin with http:// or https://")]
    [InlineData("https://https://host/v1", "the URL has its scheme twice: write http:// or https:// once")]
    [InlineData("http://host:0/v1", "the URL has port 0, on which no server can listen")]
    [InlineData("https://ho st/v1", "the value is not an absolute URL")]
    public void Address_that_cannot_be_meant_is_refused_with_what_to_write(string text, string problem)
    {
        _sandbox.Environment["OPENAI_API_BASE"] = text;

        Assert.Equal([$"OPENAI_API_BASE: {problem}; expected an http or https URL such as https://api.openai.com/v1"],
            _sandbox.Errors());
    }
}
