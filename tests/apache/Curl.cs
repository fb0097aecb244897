namespace StreamingDaemon.ApacheTests;

internal static class Curl
{
    private static readonly string[] Always = ["-sS", "--no-buffer", "--noproxy", "*", "--max-time", "30"];

    public static ChildProcess Start(params string[] arguments) => new(Tools.Curl, [.. Always, .. arguments]);

    /// <summary>The answer; that curl is content is part of it.</summary>
    public static string Run(params string[] arguments)
    {
        using var curl = Start(arguments);
        curl.WaitForExit(Wait.Limit * 2);
        Assert.True(curl.ExitCode == 0, $"curl ended with {curl.ExitCode}:\n{curl.Output}");
        return curl.Output;
    }

    public static int Status(params string[] arguments) =>
        int.Parse(Run([.. arguments, "-o", "/dev/null", "-w", "%{http_code}"]).Trim());
}
