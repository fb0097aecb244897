<?php
declare(strict_types=1);

namespace StreamingDaemon;

/** Every exception of this library. */
abstract class HandoffException extends \RuntimeException
{
}

/** A value that the daemon would ignore or refuse. The message names it. */
final class InvalidHandoff extends HandoffException
{
}

/** More than the daemon can be set to take. Leave out old messages, or shorten them. */
final class HandoffTooLarge extends HandoffException
{
    public function __construct(public readonly int $bytes, public readonly int $limit)
    {
        parent::__construct("The handoff has $bytes bytes, the daemon takes at most $limit.");
    }
}

/** The response has begun, headers come too late. The message names the file and line of the first output. */
final class HeadersAlreadySent extends HandoffException
{
}

/** mod_socket_handoff is not loaded or not on for this request: the whole prompt would go to the browser. */
final class ModuleUnavailable extends HandoffException
{
}

/** A delivery that is not the daemon's, or is too old. Answer it with 401. */
class InvalidDelivery extends HandoffException
{
}

/** The delivery is signed with the secret, but not now: it is an old one, or one of the two clocks is wrong. */
final class StaleDelivery extends InvalidDelivery
{
}
