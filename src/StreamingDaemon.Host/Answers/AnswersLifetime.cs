using StreamingDaemon.Host.Answers.Shared;

namespace StreamingDaemon.Host.Answers;

/// <summary>What the start and the end of the process wait for beside its clients.</summary>
internal sealed class AnswersLifetime(AnswerStore store, ISharedAnswers? shared = null)
{
    /// <summary>How long the start waits for the shared store. Without it, answers are not kept.</summary>
    private static readonly TimeSpan s_startPatience = TimeSpan.FromSeconds(1);

    /// <summary>Waits a moment for the shared store, if there is one.</summary>
    public Task StartAsync() => shared?.ReadyAsync(s_startPatience) ?? Task.CompletedTask;

    /// <summary>Completes when no answer runs, and every end is where others can read it.</summary>
    public async Task IdleAsync()
    {
        await store.IdleAsync().ConfigureAwait(false);
        if (shared is not null)
            await shared.IdleAsync().ConfigureAwait(false);
    }

    /// <summary>Ends the answers that this daemon only reads.</summary>
    public void EndFollowers() => shared?.EndFollowers();
}
