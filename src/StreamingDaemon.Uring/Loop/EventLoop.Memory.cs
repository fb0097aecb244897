namespace StreamingDaemon.Uring.Loop;

// The budget of memory: asked once for each handoff, when its length is known and nothing of it was copied.
internal sealed partial class EventLoop
{
    /// <param name="admission">As the places of clients have it.</param>
    /// <param name="length">Of the handoff data; 0 for a refused client if there is no memory to read
    /// it.</param>
    /// <param name="streamBytes">What the stream holds of the budget, its request not counted.</param>
    /// <returns>How the client comes in.</returns>
    private HandoffAdmission AdmitToMemory(HandoffAdmission admission, ref int length, out int streamBytes)
    {
        streamBytes = 0;
        var memory = Options.Memory;
        if (admission == HandoffAdmission.Admitted)
        {
            if (memory.TryAdmit(length, out streamBytes))
                return admission;
            admission = HandoffAdmission.OverMemory;
        }

        // A 503 needs no memory to speak of. With the request id and the headers of the application it is of
        // more use, but only while there is room for its handoff.
        if (!memory.MayReadRefused(length))
            length = 0;
        return admission;
    }
}
