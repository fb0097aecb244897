using System.Text;
using StreamingDaemon.Backends.OpenAI;
using Xunit;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class ModelListTests
{
    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("<html>")]
    [InlineData("""{"data":null}""")]
    [InlineData("""{"data":{"id":"m"}}""")]
    [InlineData("""{"data":["m",1,null,{"id":1},{"id":""},{"id":"two words"},{"id":"\ud800"},{"id":"tab\there"}]}""")]
    [InlineData("""{"data":[{"id":"sk-secret-0123456789"},{"id":"x-ret-01-x"}]}""")]
    public void List_that_is_none_or_holds_what_may_not_be_shown_is_empty(string json) =>
        Assert.Empty(ModelList.Read(Encoding.UTF8.GetBytes(json), BackendUnderTest.ApiKey).Ids);

    [Fact]
    public void List_that_is_an_array_alone_is_read() => Assert.Equal(
        ["b", "a"], ModelList.Read("""[{"id":"b","type":"chat"},{"id":"a"}]"""u8, "").Ids);

    [Fact]
    public void Ids_are_kept_in_their_order_and_owners_ignore_case()
    {
        var list = ModelList.Read(
            """{"object":"list","data":[{"id":"b/c:7b","owned_by":"VLLM"},{"id":"a@1"}]}"""u8, "");

        Assert.Equal(["b/c:7b", "a@1"], list.Ids);
        Assert.Equal("vLLM", ServerKind.OfOwners(list.Owners));
    }
}
