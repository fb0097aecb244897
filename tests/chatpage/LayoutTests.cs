using System.Buffers.Binary;
using StreamingDaemon.ApacheTests;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>The page on a phone, on a desk, by day and by night.</summary>
public sealed class LayoutTests(Browser browser, SharedSites sites)
{
    /// <summary>Set it to write the pictures of docs/ again.</summary>
    private const string Switch = "UPDATE_SCREENSHOTS";

    private const int MaxPictureBytes = 300_000;

    [Theory]
    [InlineData(360, 640)]
    [InlineData(320, 480)]
    public async Task Phone_has_nothing_to_scroll_sideways_and_room_for_a_thumb(int width, int height)
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Resize(width, height, phone: true);
        var answer = site.NextAnswer().Say(new string('x', 400), " http://example.test/" + new string('y', 200));
        page.Ask(new string('w', 120));
        await Eventually.TrueAsync(() => page.Answers is [{ Length: > 600 }]);

        Assert.Equal(width, page.Run<long>("return document.documentElement.scrollWidth"));
        Assert.Equal(0, page.Run<long>("""
            const log = document.querySelector("[aria-label=Conversation]");
            return log.scrollWidth - log.clientWidth;
            """));
        foreach (var name in page.Controls())
        {
            var control = page.Control(name);
            Assert.InRange(control.Location.X, 0, width - control.Size.Width);
            Assert.InRange(control.Location.Y, 0, height - control.Size.Height);
            Assert.True(control.Size.Height >= 44, $"{name}: {control.Size.Height} px");
        }

        answer.End();
        await page.EndsAsync();
    }

    [Fact]
    public async Task Only_the_conversation_scrolls_however_long_it_is()
    {
        var site = await sites.GetAsync(Front.Demo);
        using var page = browser.Open(site);
        page.Resize(360, 640, phone: true);
        await StreamingTests.AskAsync(site, page, "Count", string.Concat(Enumerable.Repeat("line\n", 60)));
        await StreamingTests.AskAsync(site, page, "Again", "No.");

        page.Run<object>("document.querySelector('[aria-label=Conversation]').scrollTop = 0");

        Assert.Equal(640, page.Run<long>("return document.documentElement.scrollHeight"));
    }

    [Fact]
    public async Task Dark_scheme_is_dark_and_the_light_one_light()
    {
        using var page = browser.Open(await sites.GetAsync(Front.Demo));
        page.Prefer("prefers-color-scheme", "light");
        Assert.True(Brightness(page, "background-color") > 0.8);
        Assert.True(Brightness(page, "color") < 0.2);

        page.Prefer("prefers-color-scheme", "dark");

        Assert.True(Brightness(page, "background-color") < 0.2);
        Assert.True(Brightness(page, "color") > 0.8);
    }

    [Theory]
    [InlineData("light", "desk", 880, 560, 1)]
    [InlineData("dark", "desk", 880, 560, 1)]
    [InlineData("light", "phone", 360, 640, 1.5)]
    [InlineData("dark", "phone", 360, 640, 1.5)]
    public async Task Docs_have_their_pictures_of_the_page(
        string scheme, string device, int width, int height, double scale)
    {
        var site = await sites.GetAsync(Front.Apache);
        using var page = browser.Open(site);
        page.Prefer("prefers-color-scheme", scheme);
        page.Resize(width, height, device == "phone", scale);
        await StreamingTests.AskAsync(site, page, "Why does the answer come word by word?",
            "A language model writes one word after the other. The page shows each as soon as it is there.");
        page.Click("New chat");
        var answer = site.NextAnswer().Say("No, only **the daemon** does:\n\n| who | waits |\n|---|---|\n",
            "| PHP | until it knows who asks |\n| Apache | until the connection is handed over |\n",
            "| the daemon | for the model |\n\nIf you reload this page, the answer");
        page.Ask("Does the web server wait all that time?");
        await Eventually.TrueAsync(() => page.Answers is [{ Length: > 100 }] && page.Status.Contains(" ms"));

        var picture = page.Screenshot();

        var file = Path.Combine(Tools.Repository, "docs", $"chat-{device}-{scheme}.png");
        if (Environment.GetEnvironmentVariable(Switch) == "1")
            await File.WriteAllBytesAsync(file, picture);
        Assert.Equal(((int)(width * scale), (int)(height * scale)), SizeOf(picture));
        Assert.Equal(SizeOf(picture), SizeOf(await File.ReadAllBytesAsync(file)));
        var pictures = new DirectoryInfo(Path.Combine(Tools.Repository, "docs")).GetFiles("chat-*.png");
        Assert.InRange(pictures.Sum(p => p.Length), 1, MaxPictureBytes);
        answer.End();
        await page.EndsAsync();
    }

    /// <summary>Of a colour of the page's body, from 0 to 1.</summary>
    private static double Brightness(ChatPage page, string property) => Convert.ToDouble(page.Run<object>("""
        const [r, g, b] = getComputedStyle(document.body).getPropertyValue(arguments[0]).match(/\d+/g);
        return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
        """, property), System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Width and height of a PNG: the first chunk's first two numbers (RFC 2083, 4.1.1).</summary>
    private static (int Width, int Height) SizeOf(byte[] png) =>
        (BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(16)), BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(20)));
}
