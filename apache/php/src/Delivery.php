<?php
declare(strict_types=1);

namespace StreamingDaemon;

/** Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body. */
final class Delivery
{
    /**
     * Returns if the body is signed with the secret.
     *
     * @param string $body the request's body as it came: file_get_contents('php://input')
     * @param array<string, mixed> $server $_SERVER, or headers by their names
     * @param string|list<string> $secret "whsec_" and base64, or the bytes themselves; while it changes, the new and the old
     * @param int $toleranceSeconds how old, or how far ahead, a delivery may be
     * @throws StaleDelivery if all that is wrong is its time
     * @throws InvalidDelivery
     * @throws \InvalidArgumentException if a secret is none: answer 500, and the delivery comes again
     */
    public static function verify(
        string $body,
        array $server,
        string|array $secret,
        int $toleranceSeconds = 300,
        ?int $now = null,
    ): void {
        $id = self::header($server, 'webhook-id');
        $timestamp = self::header($server, 'webhook-timestamp');
        $signatures = self::header($server, 'webhook-signature');
        if (!preg_match('/^\d{1,12}$/D', $timestamp)) {
            throw new InvalidDelivery('webhook-timestamp is no number of seconds.');
        }
        $isLate = abs(($now ?? time()) - (int) $timestamp) > $toleranceSeconds;
        // None at all is not the sender's fault either.
        $keys = array_map(self::key(...), (array) $secret ?: ['']);
        foreach ($keys as $key) {
            $expected = hash_hmac('sha256', "$id.$timestamp.$body", $key, true);
            foreach (explode(' ', $signatures) as $signature) {
                [$version, $given] = explode(',', $signature, 2) + [1 => ''];
                if ($version === 'v1' && hash_equals($expected, (string) base64_decode($given, true))) {
                    if ($isLate) {
                        throw new StaleDelivery("webhook-timestamp is not within $toleranceSeconds s of this server's clock.");
                    }
                    return;
                }
            }
        }
        throw new InvalidDelivery('No signature fits the body and the secret.');
    }

    private static function key(string $secret): string
    {
        $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6), true) : $secret;
        // An empty key would accept what anybody signs.
        return is_string($key) && $key !== '' ? $key
            : throw new \InvalidArgumentException('The secret is empty, or no base64 follows whsec_.');
    }

    /** @param array<string, mixed> $server */
    private static function header(array $server, string $name): string
    {
        $wanted = [$name, 'http_' . str_replace('-', '_', $name)];
        foreach ($server as $key => $value) {
            if (in_array(strtolower((string) $key), $wanted, true)) {
                $value = is_array($value) ? ($value[0] ?? '') : $value;
                return is_string($value) && $value !== '' ? $value : throw new InvalidDelivery("$name is empty.");
            }
        }
        throw new InvalidDelivery("$name is missing.");
    }
}
