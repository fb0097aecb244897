<?php
declare(strict_types=1);

namespace StreamingDaemon;

/** Streams an answer from PHP, in the daemon's format: for development, because it holds the worker meanwhile. */
final class CurlStream
{
    private string $rest = '';
    private bool $done = false;

    /** @internal by Handoff::fallback() */
    public function __construct(
        private readonly string $baseUrl,
        private readonly string $key,
        private readonly string $model,
    ) {
        if (!function_exists('curl_init')) {
            throw new ModuleUnavailable('The fallback needs the curl extension.');
        }
    }

    /** @param array<string, mixed> $handoff */
    public function send(array $handoff): void
    {
        while (ob_get_level() > 0 && @ob_end_clean()) {
            // Nothing may hold the events back.
        }
        header('Content-Type: text/event-stream');
        header('Cache-Control: no-cache');
        header('X-Accel-Buffering: no');
        foreach ($handoff['response_headers'] ?? [] as $name => $values) {
            foreach ((array) $values as $value) {
                header("$name: $value", false);
            }
        }
        $curl = curl_init(rtrim($this->baseUrl, '/') . '/chat/completions');
        curl_setopt_array($curl, [
            CURLOPT_POSTFIELDS => json_encode($this->request($handoff), JSON_THROW_ON_ERROR),
            CURLOPT_HTTPHEADER => array_filter(
                ['Content-Type: application/json', $this->key === '' ? '' : "Authorization: Bearer $this->key"],
            ),
            CURLOPT_FAILONERROR => true,
            CURLOPT_CONNECTTIMEOUT => 10,
            CURLOPT_WRITEFUNCTION => fn ($handle, string $bytes): int => $this->read($bytes),
        ]);
        $ok = curl_exec($curl);
        $error = curl_error($curl);
        if ($ok === false && connection_aborted() === 0) {
            error_log("handoff fallback: $error");
            $this->event(['error' => 'The model is unavailable.']);
        } elseif ($this->done) {
            echo "data: [DONE]\n\n";
            flush();
        } elseif ($ok !== false) {
            echo ": the upstream ended early\n\n";
            flush();
        }
    }

    /**
     * @param array<string, mixed> $handoff
     * @return array<string, mixed>
     */
    private function request(array $handoff): array
    {
        $messages = $handoff['messages'] ?? [['role' => 'user', 'content' => (string) $handoff['prompt']]];
        if (isset($handoff['system'])) {
            array_unshift($messages, ['role' => 'system', 'content' => $handoff['system']]);
        }
        $request = ['model' => $handoff['model'] ?? $this->model, 'messages' => $messages, 'stream' => true];
        return $request + array_intersect_key($handoff, ['max_tokens' => 0, 'temperature' => 0]);
    }

    private function read(string $bytes): int
    {
        $this->rest .= $bytes;
        while (($end = strpos($this->rest, "\n")) !== false) {
            $line = rtrim(substr($this->rest, 0, $end), "\r");
            $this->rest = substr($this->rest, $end + 1);
            if (!str_starts_with($line, 'data:')) {
                continue;
            }
            $data = ltrim(substr($line, 5), ' ');
            $this->done = $this->done || $data === '[DONE]';
            $content = json_decode($data, true)['choices'][0]['delta']['content'] ?? null;
            if (is_string($content) && $content !== '') {
                $this->event(['content' => $content]);
            }
        }
        return connection_aborted() === 0 ? strlen($bytes) : -1;
    }

    /** @param array<string, string> $event */
    private function event(array $event): void
    {
        echo 'data: ', json_encode($event, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
            | JSON_INVALID_UTF8_SUBSTITUTE), "\n\n";
        flush();
    }
}
