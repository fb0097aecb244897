using System.Text.Json;
using OpenQA.Selenium;
using OpenQA.Selenium.Chrome;
using OpenQA.Selenium.Interactions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>The page in a tab: what its reader sees, hears and presses.</summary>
internal sealed class ChatPage : IDisposable
{
    private readonly ChromeDriver _driver;
    private readonly string _window;
    private readonly string _home;

    public ChatPage(ChromeDriver driver, string url)
    {
        _driver = driver;
        _home = driver.WindowHandles[0];
        driver.SwitchTo().Window(_home).SwitchTo().NewWindow(WindowType.Tab);
        _window = driver.CurrentWindowHandle;
        _ = driver.Manage().Logs.GetLog("performance");
        driver.Url = url;
    }

    /// <summary>The quiet line below the conversation.</summary>
    public string Status => Text("[role=status]");

    /// <summary>The loud one.</summary>
    public string Problem => Text("[role=alert]");

    public IReadOnlyList<string> Questions => Messages("You: ");

    public IReadOnlyList<string> Answers => Messages("Answer: ");

    /// <summary>What is in the box of the address, with the conversation that is shown.</summary>
    public string Address => Driver.Url;

    /// <summary>Titles of the conversations on the side, as they are told to a screen reader.</summary>
    public IReadOnlyList<string> History =>
        [.. Run<IReadOnlyCollection<object>>("return [...document.querySelectorAll('nav a')].map(a => a.textContent)")
            .Cast<string>()];

    /// <summary>What stands in the text box.</summary>
    public string Draft => Run<string>("return document.querySelector('textarea').value");

    /// <summary>Name of what has the focus, or of the element without one.</summary>
    public string Focused
    {
        get
        {
            var name = ((WebElement)Driver.SwitchTo().ActiveElement()).ComputedAccessibleLabel;
            return name.Length > 0 ? name : Run<string>("return document.activeElement.localName");
        }
    }

    private ChromeDriver Driver
    {
        get
        {
            _driver.SwitchTo().Window(_window);
            return _driver;
        }
    }

    /// <summary>Presses keys, wherever the focus is.</summary>
    public void Press(params string[] keys) => new Actions(Driver).SendKeys(string.Concat(keys)).Perform();

    public void ShiftPress(string key) => PressWith(Keys.Shift, key);

    public void PressWith(string modifier, string key) =>
        new Actions(Driver).KeyDown(modifier).SendKeys(key).KeyUp(modifier).Perform();

    /// <summary>Types into the box that has the focus when the page opens, and sends.</summary>
    public void Ask(string question) => Press(question, Keys.Enter);

    public void Reload() => Driver.Navigate().Refresh();

    /// <summary>Answers the question that stands over the page.</summary>
    public void Confirm() => Driver.SwitchTo().Alert().Accept();

    public void Click(string name) => Control(name).Click();

    public bool Shows(string control) => Controls().Contains(control);

    /// <summary>Names of the visible buttons and text boxes, as they are told to a screen reader.</summary>
    public IReadOnlyList<string> Controls()
    {
        for (var left = 20; ; left--)
        {
            try
            {
                return [.. VisibleControls().Select(c => c.ComputedAccessibleLabel)];
            }
            catch (StaleElementReferenceException) when (left > 0)
            {
                // The page has drawn meanwhile.
            }
        }
    }

    public T Run<T>(string script, params object[] arguments) =>
        (T)Driver.ExecuteScript(script, arguments)!;

    public object? RunToEnd(string script) => Driver.ExecuteAsyncScript(script);

    /// <summary>A command of the DevTools protocol to this tab.</summary>
    public JsonElement DevTools(string command, Dictionary<string, object?>? parameters = null) =>
        JsonSerializer.SerializeToElement(Driver.ExecuteCdpCommand(command, parameters ?? []));

    /// <summary>A phone's or a desk's window, and what its owner prefers.</summary>
    public void Resize(int width, int height, bool phone = false, double scale = 1) =>
        DevTools("Emulation.setDeviceMetricsOverride", new()
        {
            ["width"] = width,
            ["height"] = height,
            ["deviceScaleFactor"] = scale,
            ["mobile"] = phone,
        });

    public void Prefer(string feature, string value) => DevTools("Emulation.setEmulatedMedia", new()
    {
        ["features"] = new[] { new Dictionary<string, string> { ["name"] = feature, ["value"] = value } },
    });

    public byte[] Screenshot() =>
        Convert.FromBase64String(DevTools("Page.captureScreenshot").GetProperty("data").GetString()!);

    /// <summary>Addresses that the page has asked for since it was opened.</summary>
    public IReadOnlyList<string> Requests()
    {
        List<string> addresses = [];
        foreach (var entry in Driver.Manage().Logs.GetLog("performance"))
        {
            var message = JsonDocument.Parse(entry.Message).RootElement.GetProperty("message");
            if (message.GetProperty("method").GetString() != "Network.requestWillBeSent")
                continue;
            var request = message.GetProperty("params").GetProperty("request");
            addresses.Add(request.GetProperty("url").GetString()!);
        }

        return addresses;
    }

    public async Task EndsAsync() => await Eventually.TrueAsync(() => Shows("Send") && !Shows("Stop"));

    public void Dispose()
    {
        Driver.Close();
        _driver.SwitchTo().Window(_home);
    }

    public WebElement Control(string name) => VisibleControls().Single(c => c.ComputedAccessibleLabel == name);

    private IEnumerable<WebElement> VisibleControls() =>
        Driver.FindElements(By.CssSelector("button, textarea, input, a, select")).Cast<WebElement>()
            .Where(c => c.Displayed);

    private string Text(string selector) =>
        Run<string>("return document.querySelector(arguments[0]).textContent", selector);

    private string[] Messages(string who)
    {
        const string script = "return [...document.querySelectorAll('.message')].map(m => m.textContent)";
        return [.. Run<IReadOnlyCollection<object>>(script).Cast<string>()
            .Where(m => m.StartsWith(who, StringComparison.Ordinal)).Select(m => m[who.Length..])];
    }
}
