using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Delivery;
using Xunit;

namespace StreamingDaemon.Host.Tests.Delivery;

public sealed class FinishedAnswerTests
{
    [Fact]
    public void Body_names_what_is_known_and_passes_the_sites_object_back_untouched()
    {
        const string Object = """{ "conversation": 12345678901234567890, "n":[1.0, "\u00e9"] }""";
        using var content = new AnswerContent(1024);
        content.Add(new StreamDelta("He said \"é\"\n"u8.ToArray()));

        var body = Encoding.UTF8.GetString(new FinishedAnswer
        {
            RequestId = "r-1",
            UserId = new UserId("ann"),
            Backend = "mock",
            Model = "",
            Outcome = StreamOutcome.ClientGone,
            Content = content,
            AcceptedAt = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
            TimeToFirstToken = TimeSpan.FromMilliseconds(12.34),
            Duration = TimeSpan.FromSeconds(2),
            Events = 1,
            Delivery = Encoding.UTF8.GetBytes(Object),
        }.ToJson("msg_1").Span);

        Assert.Equal("""
            {"type":"answer.ended","id":"msg_1","request_id":"r-1","user_id":"ann","backend":"mock","model":"","outcome":"ClientGone","finish_reason":null,"content":"He said \"é\"\n","timings":{"accepted_at":"2026-01-02T03:04:05.000Z","ended_at":"2026-01-02T03:04:07.000Z","ttft_ms":12,"duration_ms":2000,"events":1},"delivery":
            """ + Object + "}", body);
    }

    /// <summary>The example of the specification of Standard Webhooks.</summary>
    [Theory]
    [InlineData("whsec_plJ3nmyCDGBKInavdOK15jsl")]
    public void Signature_is_that_of_standard_webhooks(string secret)
    {
        using var body = new MemoryStream("{\"event_type\":\"ping\",\"data\":{\"success\":true}}"u8.ToArray());
        Assert.True(Host.Configuration.WebhookSecret.TryReadKey(secret, out var key));

        Assert.Equal("v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            DeliverySignature.Of(key, "msg_loFOjxBNrRLzqYUf", 1731705121, body));
    }

    [Theory]
    [InlineData("whsec_", false)]
    [InlineData("whsec_***", false)]
    [InlineData("", false)]
    [InlineData("whsec_YWI", true)]
    [InlineData("plain text", true)]
    public void Secret_is_base64_after_its_prefix_or_any_text(string secret, bool isOne) =>
        Assert.Equal(isOne, Host.Configuration.WebhookSecret.TryReadKey(secret, out _));
}
