using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Odd files that an operator may leave at the path of the configuration file.</summary>
[Trait("Takes", "Long")]
public sealed class OddConfigurationTests : IDisposable
{
    private const int SigHup = 1;
    private const int SigTerm = 15;
    private readonly TempDirectory _directory = new();
    private readonly string _file;

    public OddConfigurationTests() => _file = _directory.File("c.toml");

    public void Dispose() => _directory.Dispose();

    public static TheoryData<OddFileKind, string> Kinds => new()
    {
        { OddFileKind.Fifo, "is a FIFO or a pipe" },
        { OddFileKind.LinkToEndlessDevice, "is a character device" },
        { OddFileKind.LinkToTerminal, "is a character device" },
        { OddFileKind.LinkToItself, "does not exist or cannot be reached" },
        { OddFileKind.Directory, "is a directory" },
        { OddFileKind.Socket, "is a socket" },
        { OddFileKind.Sparse3GB, "is larger than 1 MiB" },
        { OddFileKind.OneByteTooLarge, "is larger than 1 MiB" },
        { OddFileKind.EndlessProcFile, "is larger than 1 MiB" },
        { OddFileKind.NotUtf8, "is not UTF-8" },
        { OddFileKind.FewNestedArrays, "nested too deeply" },
        { OddFileKind.FewNestedTables, "nested too deeply" },
        { OddFileKind.LongKey, "a key of more than 16 parts" },
        { OddFileKind.SomeKeys, "holds more than 1000 settings" },
        { OddFileKind.SomeTables, "holds more than 1000 settings" },
        { OddFileKind.SomeGarbage, "this is not TOML" },
        { OddFileKind.ZerosInComment, "a control character" },
        { OddFileKind.Zeros, "holds more than 64 KiB besides comments" },
        { OddFileKind.NestedArrays, "holds more than 64 KiB besides comments" },
        { OddFileKind.NestedTables, "holds more than 64 KiB besides comments" },
        { OddFileKind.EndlessKey, "holds more than 64 KiB besides comments" },
        { OddFileKind.ManyKeys, "holds more than 64 KiB besides comments" },
        { OddFileKind.ManyTables, "holds more than 64 KiB besides comments" },
        { OddFileKind.OneKeyAgainAndAgain, "holds more than 64 KiB besides comments" },
        { OddFileKind.Garbage, "holds more than 64 KiB besides comments" },
        { OddFileKind.BrokenToml, "expected = after the key" },
        { OddFileKind.UnknownNames, "unknown section" },
    };

    [Theory, MemberData(nameof(Kinds))]
    public async Task Start_and_check_name_what_stands_in_the_files_place(OddFileKind kind, string sentence)
    {
        OddFile.Place(_file, kind);

        var start = await DaemonProcess.RunAsync("--config", _file);
        var check = await DaemonProcess.RunAsync("check", "--json", "--config", _file);

        Assert.Equal((2, 2), (start.ExitCode, check.ExitCode));
        Assert.Contains(sentence, start.Error, StringComparison.Ordinal);
        Assert.Contains(sentence.Replace("+", "\\u002B", StringComparison.Ordinal), check.Output,
            StringComparison.Ordinal);
        foreach (var text in (string[])[start.Error, start.Output, check.Error, check.Output])
        {
            Assert.DoesNotContain(OddFile.Secret, text, StringComparison.Ordinal);
            Assert.DoesNotContain("   at ", text, StringComparison.Ordinal);
        }
    }

    [Theory, MemberData(nameof(Kinds))]
    public async Task Reload_of_an_odd_file_is_refused_and_the_next_takes_the_good_one(
        OddFileKind kind, string sentence)
    {
        await using var daemon = await StartAsync();

        OddFile.Place(_file, kind);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("not reloaded")
            .Any(line => line.Contains(sentence, StringComparison.Ordinal)));
        await ReloadAsync(daemon, 7);

        Assert.True((await daemon.AskAsync("{}")).IsDone);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.DoesNotContain(OddFile.Secret, daemon.ErrorText, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("OPENAI_CA_FILE", OddFileKind.Fifo, "is a FIFO or a pipe")]
    [InlineData("OPENAI_CA_FILE", OddFileKind.LinkToEndlessDevice, "is a character device")]
    [InlineData("OPENAI_CA_FILE", OddFileKind.Sparse3GB, "is larger than 1 MiB")]
    [InlineData("OPENAI_CLIENT_CERT_FILE", OddFileKind.EndlessProcFile, "is larger than 1 MiB")]
    [InlineData("OPENAI_CLIENT_KEY_FILE", OddFileKind.Socket, "is a socket")]
    [InlineData("OPENAI_CLIENT_KEY_FILE", OddFileKind.LinkToItself, "cannot be read")]
    public async Task Start_and_check_name_what_stands_in_a_certificates_place(
        string variable, OddFileKind kind, string sentence)
    {
        OddFile.Place(_file, kind);
        foreach (var command in (string[][])[[], ["check"]])
        {
            using var process = System.Diagnostics.Process.Start(DaemonProcess.StartInfo(
                new Dictionary<string, string> { [variable] = _file, ["OPENAI_API_KEY"] = "sk-x" },
                _directory.Path, command))!;

            var error = await process.StandardError.ReadToEndAsync().WaitAsync(TestClient.Patience);
            await process.WaitForExitAsync().WaitAsync(TestClient.Patience);

            Assert.Equal(2, process.ExitCode);
            Assert.Contains($"({variable}): {_file}: {sentence}", error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task File_of_1_MiB_is_read()
    {
        await File.WriteAllTextAsync(_file, "[mock]\ndelay_ms = 0\n#".PadRight(1024 * 1024, 'x'));
        await using var daemon = await DaemonProcess.StartAsync("--config", _file);

        Assert.True((await daemon.AskAsync("{}")).IsDone);
    }

    [Fact]
    public async Task Default_place_that_holds_a_directory_is_named_and_not_passed_over()
    {
        // A bind mount of a missing file creates such a directory.
        Directory.CreateDirectory(_directory.File("streaming-daemon.toml"));
        using var process = System.Diagnostics.Process.Start(
            DaemonProcess.StartInfo(null, _directory.Path, ["check"]))!;

        var output = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(TestClient.Patience);

        Assert.Equal(2, process.ExitCode);
        Assert.Contains("streaming-daemon.toml: is a directory", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DELIVERY__CA_FILE")]
    [InlineData("ANSWERS__REDIS_CA_FILE")]
    [Trait("Needs", "Tools")]
    public async Task Authorities_that_do_not_answer_end_start_and_check_with_a_sentence(string option)
    {
        await File.WriteAllTextAsync(_file, "");
        using var held = await HeldOpen.OfAsync(_directory, _file);
        var environment = new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_ANSWERS__STORE"] = "redis",
            ["STREAMING_DAEMON_ANSWERS__REDIS"] = "127.0.0.1:1",
            ["STREAMING_DAEMON_ANSWERS__REDIS_TLS"] = "true",
            ["STREAMING_DAEMON_DELIVERY__URL"] = "https://127.0.0.1:1/",
            ["STREAMING_DAEMON_DELIVERY__SECRET"] = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
            ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = _directory.File("spool"),
            [$"STREAMING_DAEMON_{option}"] = _file,
        };

        foreach (var command in (string[][])[["--socket", _directory.File("s")], ["check"]])
        {
            var (exitCode, _, error) = await DaemonProcess.RunAsync(environment, command);

            Assert.Equal(2, exitCode);
            Assert.Contains($"{_file}: does not answer", error, StringComparison.Ordinal);
        }
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Spool_in_which_nothing_answers_ends_start_and_check_with_a_sentence()
    {
        var spool = _directory.File("spool");
        var pending = Directory.CreateDirectory(Path.Combine(spool, "pending"));
        Directory.CreateDirectory(Path.Combine(spool, "dead"));
        using var held = await HeldOpen.OfAsync(_directory, pending.FullName);
        var environment = new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_DELIVERY__URL"] = "http://127.0.0.1:1/",
            ["STREAMING_DAEMON_DELIVERY__SECRET"] = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
            ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = spool,
        };

        var (startCode, _, error) = await DaemonProcess.RunAsync(environment, ["--socket", _directory.File("s")]);
        var (checkCode, table, _) = await DaemonProcess.RunAsync(environment, ["check"]);

        Assert.Equal((1, 1), (startCode, checkCode));
        Assert.Contains($"{spool}: its file system did not answer", error, StringComparison.Ordinal);
        Assert.Matches($"failed +deliveries +{spool}: its file system did not answer", table);
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task File_that_does_not_answer_ends_start_and_check_with_a_sentence()
    {
        await File.WriteAllTextAsync(_file, "");
        using var held = await HeldOpen.OfAsync(_directory, _file);

        foreach (var command in (string[][])[["--config", _file], ["check", "--config", _file]])
        {
            var (exitCode, _, error) = await DaemonProcess.RunAsync(command);

            Assert.Equal(2, exitCode);
            Assert.Contains($"{_file}: does not answer", error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Three_hundred_sighups_on_a_fifo_leave_the_daemon_healthy()
    {
        await using var daemon = await StartAsync();
        OddFile.Place(_file, OddFileKind.Fifo);
        var threads = Threads(daemon);

        for (var i = 0; i < 300; i++)
        {
            daemon.Signal(SigHup);
            if (i % 10 == 0)
                Assert.True((await daemon.AskAsync("{}")).IsDone);
        }

        Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);
        await Eventually.TrueAsync(() => Threads(daemon) <= threads + 4);
        await ReloadAsync(daemon, 9);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Reloads_that_hang_are_given_up_bounded_and_do_not_hold_the_next_file_or_the_end()
    {
        await using var daemon = await StartAsync();
        using var held = await HeldOpen.OfAsync(_directory, _file);

        for (var hanging = 1; hanging <= 4; hanging++)
        {
            daemon.Signal(SigHup);
            await Eventually.TrueAsync(() => daemon.LogLines("does not answer").Count == hanging);
            Assert.True((await daemon.AskAsync("{}")).IsDone);
        }

        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("4 earlier reloads still wait").Count == 1);
        await held.ReleaseAsync();
        await Eventually.TrueAsync(() => daemon.LogLines("came back: ignored").Count == 4);
        Assert.Empty(daemon.LogLines("\"Changed\""));
        await ReloadAsync(daemon, 5);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task File_put_right_is_taken_over_while_an_older_reload_still_hangs()
    {
        await using var daemon = await StartAsync();
        using var held = await HeldOpen.OfAsync(_directory, _file);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("does not answer").Count == 1);

        await ReloadAsync(daemon, 3);

        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    private async Task<DaemonProcess> StartAsync()
    {
        await File.WriteAllTextAsync(_file, "");
        return await DaemonProcess.StartAsync("--delay", "0", "--config", _file);
    }

    /// <summary>Puts a good file at the path, by rename, and waits until its value is in force.</summary>
    private async Task ReloadAsync(DaemonProcess daemon, int seconds)
    {
        var good = _directory.File("good.toml");
        await File.WriteAllTextAsync(good, $"[timeouts]\nshutdown_timeout_s = {seconds}\n");
        if (Directory.Exists(_file))
            Directory.Delete(_file);
        File.Move(good, _file, overwrite: true);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":\"timeouts.shutdown_timeout_s\"").Count == 1);
    }

    private static int Threads(DaemonProcess daemon) => Directory.GetDirectories($"/proc/{daemon.Pid}/task").Length;
}
