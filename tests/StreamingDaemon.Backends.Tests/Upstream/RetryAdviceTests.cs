using System.Text;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class RetryAdviceTests
{
    [Theory]
    [InlineData("""{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}""")]
    [InlineData("""{"error":{"code":"billing_hard_limit_reached"}}""")]
    [InlineData("""{"error":{"type":"rate_limit_error","code":"billing_not_active"}}""")]
    [InlineData("""{"error":{"type":"exceeded_current_quota_error"}}""")]
    [InlineData("""{"error":{"code":"InsufficientBalance"}}""")]
    [InlineData("""{"error":{"type":"budget_exceeded","code":"429"}}""")]
    [InlineData("""{"code":"Arrearage","message":"m"}""")]
    [InlineData("""{"error":{"code":"AccountOverdueError"}}""")]
    [InlineData("""{"error":{"code":"spend_limit_exceeded"}}""")]
    [InlineData("""{"error":{"type":"server_error","code":"invalid_api_key"}}""")]
    [InlineData("""[{"error":{"code":403,"status":"PERMISSION_DENIED"}}]""")]
    [InlineData("""{"type":"error","error":{"type":"authentication_error","message":"m"}}""")]
    [InlineData("""{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}""")]
    [InlineData("""{"object":"error","message":"m","type":"BadRequestError","code":400}""")]
    [InlineData("""{"error":{"type":"invalid_request_error","code":"context_length_exceeded"}}""")]
    [InlineData("""{"error":"insufficient_quota"}""")]
    [InlineData("""{"choices":null,"error_type":"BadRequestError","error_message":"m"}""")]
    [InlineData("""{"error":{"code":"model_not_found"}}""")]
    [InlineData("""{"error":{"code":"insufficient_quota","message":"cut off here, as at the lim""")]
    public void Error_that_no_retry_can_change_is_final_under_any_status(string body)
    {
        foreach (var status in (int[])[400, 408, 409, 429, 500, 503, 529])
        {
            foreach (var header in (string?[])[null, "true", "false"])
                Assert.Equal(false, RetryAdvice.Of(status, header, Encoding.UTF8.GetBytes(body)));
        }
    }

    [Theory]
    [InlineData("""{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}""")]
    [InlineData("""{"error":{"type":"invalid_request_error","code":"rate_limit_exceeded"}}""")]
    [InlineData("""{"error":{"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}""")]
    [InlineData("""{"type":"error","error":{"type":"overloaded_error"}}""")]
    [InlineData("""{"error":{"code":429,"message":"Provider returned error"}}""")]
    [InlineData("""{"error":"the quota of the quota: a message, not a name"}""")]
    [InlineData("<h1>insufficient_quota</h1>")]
    [InlineData("\"")]
    [InlineData("")]
    public void Error_that_may_pass_leaves_it_to_the_header_and_the_status(string body)
    {
        var bytes = Encoding.UTF8.GetBytes(body);
        Assert.Null(RetryAdvice.Of(429, null, bytes));
        Assert.Null(RetryAdvice.Of(429, "maybe", bytes));
        Assert.Equal(true, RetryAdvice.Of(429, "true", bytes));
        Assert.Equal(false, RetryAdvice.Of(429, " False ", bytes));
    }

    [Theory]
    [InlineData(400)]
    [InlineData(401)]
    [InlineData(402)]
    [InlineData(403)]
    [InlineData(422)]
    public void Header_does_not_make_a_wrong_request_a_right_one(int status) =>
        Assert.Null(RetryAdvice.Of(status, "true", default));

    [Theory]
    [InlineData(UpstreamFault.ClientError, 423)]
    [InlineData(UpstreamFault.ServerError, 501)]
    public void What_the_upstream_says_counts_before_its_status(UpstreamFault fault, int status)
    {
        var failed = BackendResult.Failed(fault, "", status);
        var policy = new RetryPolicy(2);
        Assert.False(policy.TryPlan(failed, 0, TimeSpan.FromMinutes(1), out _));
        Assert.True(policy.TryPlan(
            failed with { ShouldRetry = true }, 0, TimeSpan.FromMinutes(1), out _));
        Assert.False(policy.TryPlan(BackendResult.Failed(UpstreamFault.RateLimited, "", 429) with
        {
            ShouldRetry = false,
        }, 0, TimeSpan.FromMinutes(1), out _));
    }
}
