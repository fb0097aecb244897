using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class ManPageTests
{
    [Fact]
    public void Manual_page_says_what_the_option_table_says()
    {
        if (ReferencePages.Update)
            File.WriteAllText(ManPage.FilePath, ManPage.Text());

        Assert.Equal(ManPage.Text(), File.ReadAllText(ManPage.FilePath));
    }
}
