using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Host.Formats;
using Xunit;

namespace StreamingDaemon.Host.Tests.Formats;

public sealed partial class ErrorCodesTests
{
    /// <summary>Every error that the daemon can send.</summary>
    private static List<ErrorResponse> Errors { get; } =
    [
        ErrorResponse.MalformedHandoff, ErrorResponse.NoPrompt, ErrorResponse.UnknownFormat, ErrorResponse.HandoffTooLarge,
        ErrorResponse.OverCapacity, ErrorResponse.OverMemory, ErrorResponse.RateLimited(1),
        ErrorResponse.TooManyStreams, ErrorResponse.AnswerNotFound,
        ErrorResponse.AnswersUnavailable,
        .. Enum.GetValues<StreamOutcome>().Where(outcome => outcome != StreamOutcome.UpstreamError)
            .Select(outcome => ErrorResponse.For(new BackendResult(outcome))).OfType<ErrorResponse>(),
        .. Enum.GetValues<UpstreamFault>().Select(fault => ErrorResponse.For(BackendResult.Failed(fault, ""))!),
    ];

    [Fact]
    public void Every_code_is_in_the_page_with_the_status_that_it_is_sent_with()
    {
        var page = File.ReadAllLines(Repository.PathOf("docs", "errors.md"))
            .Select(line => Row().Match(line)).Where(row => row.Success)
            .ToDictionary(row => row.Groups["code"].Value, row => row.Groups["status"].Value);

        Assert.Equal(ErrorCodes.Words, page.Keys);
        Assert.All(Errors, error =>
            Assert.Equal(error.Status.ToString(CultureInfo.InvariantCulture), page[error.Code.Word()]));
    }

    [Fact]
    public void Every_code_is_sent_for_something()
    {
        Assert.All(Errors, Assert.NotNull);
        Assert.Equal(Enum.GetValues<ErrorCode>(), Errors.Select(error => error.Code).Distinct().Order());
    }

    [Fact]
    public void Code_and_message_need_no_escapes_in_json() => Assert.All(Errors, error =>
    {
        Assert.Matches("^[a-z]+(_[a-z]+)*$", error.Code.Word());
        Assert.Matches("^[A-Za-z :,.]{1,100}$", error.Message);
    });

    [GeneratedRegex(@"^\| `(?<code>\w+)` \| (?<status>\d+) \| .+ \| .+ \|$")]
    private static partial Regex Row();
}
