using System.Threading.Channels;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>An answer that the model gives word by word, when the test says so.</summary>
internal sealed class LiveAnswer
{
    private readonly Channel<Func<FakeLlmExchange, Task>> _words =
        Channel.CreateUnbounded<Func<FakeLlmExchange, Task>>();
    private readonly TaskCompletionSource<FakeLlmRequest> _asked =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The request to the model, as soon as it is there.</summary>
    public Task<FakeLlmRequest> Asked => _asked.Task.WaitAsync(TestClient.Patience);

    public LiveAnswer Say(params IEnumerable<string> words)
    {
        foreach (var word in words)
            _words.Writer.TryWrite(exchange => exchange.SendDeltaAsync(word));
        return this;
    }

    public LiveAnswer Think(string thought)
    {
        _words.Writer.TryWrite(exchange => exchange.SendReasoningAsync(thought));
        return this;
    }

    /// <summary>The answer ends, as the finish reason says.</summary>
    public void End(string reason = "stop")
    {
        _words.Writer.TryWrite(exchange => exchange.SendFinishAsync(reason));
        _words.Writer.Complete();
    }

    /// <summary>The model's server dies.</summary>
    public void Break() => _words.Writer.Complete(new IOException("as the test wants it"));

    public async Task RunAsync(FakeLlmExchange exchange)
    {
        _asked.TrySetResult(exchange.Request);
        await exchange.StartAsync();
        try
        {
            await foreach (var word in _words.Reader.ReadAllAsync(exchange.Context.RequestAborted))
                await word(exchange);
        }
        catch (IOException)
        {
            exchange.AbortConnection();
            return;
        }

        await exchange.SendDoneAsync();
    }
}
