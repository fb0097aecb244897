using System.Text;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class UpstreamErrorCodeTests
{
    private const string Key = "sk-secret-0123456789";

    [Theory]
    [InlineData("""{"error":{"type":"t","code":"c","message":"m"}}""", "t/c")]
    [InlineData("""{"error":{"type":"same","code":"same","message":"m"}}""", "same")]
    [InlineData("""{"error":{"type":null,"code":429,"message":"m"}}""", "429")]
    [InlineData("""{"error":{"code":"c"}}""", "c")]
    [InlineData("""{"type":"error","error":{"type":"overloaded_error","message":"m"}}""", "overloaded_error")]
    [InlineData("""{"message":"m","type":"Bad.Request-1"}""", "Bad.Request-1")]
    [InlineData("""{"error":{"type":"","code":"c"}}""", "c")]
    [InlineData("""{"error":"model_not_found"}""", "model_not_found")]
    [InlineData("""{"error_type":"BadRequestError","error_message":"m"}""", "BadRequestError")]
    [InlineData("""[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]""", "INVALID_ARGUMENT/400")]
    [InlineData("""{"object":"error","message":"m","type":"BadRequestError","code":400}""", "BadRequestError/400")]
    [InlineData("""{"detail":[{"loc":["body"],"type":"missing"}]}""", "missing")]
    [InlineData("""{"success":false,"errors":[{"code":7009,"message":"m"}]}""", "7009")]
    public void Error_is_named_by_its_type_and_code(string body, string expected) =>
        Assert.Equal(expected, Read(body));

    [Theory]
    [InlineData("""{"error":{"message":"m"}}""")]
    [InlineData("""{"error":"a message"}""")]
    [InlineData("""{"error":{"type":"None","code":"null"}}""")]
    [InlineData("""{"detail":[{"loc":1}]}""")]
    [InlineData("""{"error":{"type":["t"],"code":{"c":1}}}""")]
    [InlineData("""{"error":{"type":"two words"}}""")]
    [InlineData("""{"error":{"type":"tab\there","code":"new\nline"}}""")]
    [InlineData("""{"error":{"type":"naïve","code":"a/b"}}""")]
    [InlineData("""{"error":{"type":"\ud800"}}""")]
    [InlineData("""{"error":{"type":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}""")]
    [InlineData("""{"error":{"type":"sk-secret-0123456789","code":"key_sk-secr_x"}}""")]
    [InlineData("""{"error":{"message":"cut o""")]
    [InlineData("\"type\"")]
    [InlineData("[1]")]
    [InlineData("  <!DOCTYPE html>")]
    [InlineData(" \r\n")]
    [InlineData("")]
    public void What_is_no_name_is_left_out_whole(string body) => Assert.Null(Read(body));

    [Fact]
    public void Nesting_without_end_is_no_name() =>
        Assert.Null(Read(string.Concat(Enumerable.Repeat("{\"error\":", 2000))));

    [Theory]
    [InlineData("text/html; charset=utf-8", "text/html")]
    [InlineData(" application/problem+json ", "application/problem+json")]
    [InlineData("my secret", null)]
    [InlineData("text/é", null)]
    [InlineData("", null)]
    [InlineData(null, null)]
    public void Content_type_is_reported_where_it_is_one(string? header, string? expected) =>
        Assert.Equal(expected, UpstreamErrorCode.FromContentType(header));

    private static string? Read(string body) => UpstreamErrorCode.FromBody(Encoding.UTF8.GetBytes(body), Key);
}
