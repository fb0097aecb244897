<?php
declare(strict_types=1);

namespace StreamingDaemon;

/**
 * One question to a model, whose answer the daemon streams to the browser.
 *
 *     Handoff::to('/run/streaming-daemon/streaming-daemon.sock')
 *         ->user($id)->conversation($messages)->model('gpt-4o-mini')->respond();
 *
 * What the daemon would ignore, cut or refuse is refused here, with an exception that names it.
 */
final class Handoff
{
    /** The daemon's own ceiling. Its streaming.max_handoff_bytes, 8 MiB by default, may be lower. */
    public const MAX_BYTES = 64 * 1024 * 1024;

    /** What is longer goes in a file, if the module has a directory for it. */
    private const LONG_BYTES = 212960;

    /** mod_proxy_fcgi (php-fpm) takes 8189 bytes a line, name included. */
    private const LINE_BYTES = 8000;

    private const MAX_PATH_BYTES = 107;
    private const MAX_RESPONSE_HEADERS = 64;
    private const MAX_RESPONSE_HEADER_BYTES = 16 * 1024;

    /** The daemon writes these itself. */
    private const DAEMONS_HEADERS = [
        'content-type', 'cache-control', 'connection', 'x-accel-buffering', 'transfer-encoding', 'content-length',
        'content-encoding', 'keep-alive', 'upgrade', 'trailer', 'te', 'proxy-connection', 'retry-after', 'x-answer-id',
    ];

    private static bool $handedOver = false;
    private static ?string $file = null;

    /** @var array<string, mixed> */
    private array $fields = [];
    private ?CurlStream $fallback = null;
    private string $answer = '';

    private function __construct(private readonly string $socket)
    {
    }

    /** @param string $socket absolute path of the daemon's socket, below SocketHandoffAllowedPrefix */
    public static function to(string $socket): self
    {
        if (!str_starts_with($socket, '/') || strlen($socket) > self::MAX_PATH_BYTES
            || preg_match('/[\x00-\x20\x7f]/', $socket)) {
            throw new InvalidHandoff('The socket is not an absolute path of at most '
                . self::MAX_PATH_BYTES . ' bytes without spaces.');
        }
        return new self($socket);
    }

    /** Says whether httpd's module is on and can hand this request over. */
    public static function isAvailable(): bool
    {
        return ($_SERVER['SOCKET_HANDOFF'] ?? getenv('SOCKET_HANDOFF')) === '1';
    }

    /** @param int|string $id for the log and the rate limit: a number, a UUID, an address */
    public function user(int|string $id): self
    {
        return $this->with('user_id', Values::problem('user_id', $id) === null ? $id
            : throw new InvalidHandoff('user: an empty string is nobody.'));
    }

    public function prompt(string $text): self
    {
        return $this->with('prompt', $text);
    }

    /** Instructions before a prompt, or before a conversation that has no system message of its own. */
    public function system(string $text): self
    {
        return $this->with('system', $text);
    }

    /** @param iterable<array<string, mixed>|object> $messages each with a role and a content; keys are ignored */
    public function conversation(iterable $messages): self
    {
        $list = [];
        foreach ($messages as $message) {
            $at = 'messages[' . count($list) . ']';
            $list[] = Values::message(Values::plain($message, $at), $at);
        }
        $this->fields['messages'] = $list;
        return $this;
    }

    public function model(string $name): self
    {
        return $this->with('model', $name);
    }

    public function maxTokens(int $count): self
    {
        return $this->with('max_tokens', $count > 0 ? $count : throw new InvalidHandoff('max_tokens is below 1.'));
    }

    public function temperature(float $value): self
    {
        return $this->with('temperature', is_finite($value) ? $value
            : throw new InvalidHandoff('temperature is no number.'));
    }

    /** @param string $id 1 to 128 printable ASCII characters, without quotes, backslashes and spaces */
    public function requestId(string $id): self
    {
        return $this->with('request_id', preg_match(Values::ID, $id) ? $id
            : throw new InvalidHandoff('request_id has a character that the daemon would replace, or too many.'));
    }

    public function backend(string $name): self
    {
        return $this->with('backend', $name);
    }

    /** The answer is to outlive its reader. A daemon that cannot keep answers ignores it. */
    public function keep(bool $keep = true): self
    {
        return $this->with('keep', $keep);
    }

    /**
     * Instead of a question: a kept answer of this user, from the event after the last one that the browser has read.
     *
     * @param int|string|null $lastEventId a number, or the browser's header Last-Event-ID
     */
    public function resume(string $id, int|string|null $lastEventId = null): self
    {
        $last = trim((string) $lastEventId);
        if (!preg_match('/^\d{0,9}$/D', $last)) {
            throw new InvalidHandoff('resume: the last event id is no number.');
        }
        $resume = $this->about('resume', $id);
        return $last === '' ? $resume : $resume->with('last_event_id', (int) $last);
    }

    /** Instead of a question: ends a kept answer of this user for all its readers. */
    public function stop(string $id): self
    {
        return $this->about('stop', $id);
    }

    /** A header of the daemon's response. Another call with the same name adds a value. */
    public function responseHeader(string $name, string $value): self
    {
        if (!preg_match('/^[!#$%&\'*+.^_`|~0-9A-Za-z-]+$/D', $name)) {
            throw new InvalidHandoff('This is no name of a header: ' . addcslashes($name, "\0..\37\177..\377"));
        }
        if (in_array(strtolower($name), self::DAEMONS_HEADERS, true)) {
            throw new InvalidHandoff("$name is written by the daemon itself.");
        }
        if (preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $value)) {
            throw new InvalidHandoff("$name has a control character in its value.");
        }
        $this->fields['response_headers'][$name][] = $value;
        $bytes = $count = 0;
        foreach ($this->fields['response_headers'] as $key => $values) {
            foreach ($values as $each) {
                $bytes += strlen((string) $key) + strlen($each) + 4;
                $count++;
            }
        }
        if ($count > self::MAX_RESPONSE_HEADERS || $bytes > self::MAX_RESPONSE_HEADER_BYTES) {
            throw new InvalidHandoff('The daemon takes 64 response headers, and 16 KiB of them.');
        }
        return $this;
    }

    /** Any other field of docs/handoff.md. An empty object is new \stdClass(). */
    public function with(string $field, mixed $value): self
    {
        if ($field === 'messages' && is_iterable($value)) {
            return $this->conversation($value);
        }
        if ($field === 'response_headers') {
            return $this->withResponseHeaders($value);
        }
        $this->fields[$field] = $value;
        return $this;
    }

    private function withResponseHeaders(mixed $headers): self
    {
        if ($headers !== null && !is_array($headers) && !$headers instanceof \stdClass) {
            throw new InvalidHandoff('response_headers are names with their values.');
        }
        unset($this->fields['response_headers']);
        foreach ((array) $headers as $name => $values) {
            foreach (is_array($values) ? $values : [$values] as $value) {
                $this->responseHeader((string) $name, is_string($value) ? $value
                    : throw new InvalidHandoff("response_headers: the value of $name is no text."));
            }
        }
        return $this;
    }

    /**
     * For development without httpd's module: respond() then streams from PHP itself, which holds the worker.
     *
     * @param string $baseUrl of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1
     */
    public function fallback(string $baseUrl, string $key = '', string $model = ''): self
    {
        $this->fallback = new CurlStream($baseUrl, $key, $model);
        return $this;
    }

    /** The handoff as the daemon gets it. The trace context of this request comes with it, for the daemon's log. */
    public function json(): string
    {
        $fields = $this->checked() + self::traceContext();
        try {
            return json_encode($fields, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
                | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new InvalidHandoff('The handoff cannot be encoded: ' . $error->getMessage(), 0, $error);
        }
    }

    /**
     * The response's headers, for a framework that sends them itself. Its status must stay below 300.
     *
     * @return array<string, string>
     */
    public function headers(): array
    {
        if (!self::isAvailable()) {
            throw new ModuleUnavailable('SOCKET_HANDOFF is not set: mod_socket_handoff is not loaded or not on for this '
                . 'request, or it came over HTTP/2, or TLS that the kernel cannot do.');
        }
        $json = $this->json();
        if (strlen($json) > self::MAX_BYTES) {
            throw new HandoffTooLarge(strlen($json), self::MAX_BYTES);
        }
        $headers = ['X-Socket-Handoff' => $this->socket];
        if (strlen($json) > self::LONG_BYTES && self::write($json)) {
            return $headers + ['X-Handoff-Data-File' => self::$file];
        }
        // A value loses the spaces at its ends. All spaces here are in strings, where \u0020 is the same.
        $parts = preg_replace('/^ | $/D', '\u0020', str_split($json, self::LINE_BYTES));
        foreach ($parts as $index => $part) {
            $headers['X-Handoff-Data' . (count($parts) > 1 ? '-' . ($index + 1) : '')] = $part;
        }
        return $headers;
    }

    /**
     * Hands over when the script ends, or at its next flush(). Closes the session, and drops what the script still
     * prints. If the script ends with an error instead, the client gets that and nobody asks the model.
     */
    public function respond(): void
    {
        $fallback = self::isAvailable() || $this->answer !== '' ? null : $this->fallback;
        if (headers_sent($file, $line)) {
            throw new HeadersAlreadySent("The response began in $file, line $line.");
        }
        $status = http_response_code();
        if (is_int($status) && $status >= 300) {
            throw new InvalidHandoff("The response has the status $status: only below 300 is it handed over.");
        }
        // One that an earlier call has set: its parts would mix with these.
        self::removeHeaders();
        // Last: it may write a file.
        $headers = $fallback === null ? $this->headers() : [];
        if (session_status() === PHP_SESSION_ACTIVE) {
            // Another request of this session would wait for its lock.
            session_write_close();
        }
        if ($fallback !== null) {
            $fallback->send(json_decode($this->json(), true, 512, JSON_THROW_ON_ERROR));
            return;
        }
        self::$handedOver = true;
        // PHP empties its buffers last: an error of a shutdown function or of a destructor is seen here.
        ob_start(static function (string $output): string {
            self::takeBackAfterError();
            if (http_response_code() >= 300) {
                // The application's own answer, which the client gets whole.
                self::takeBack(http_response_code());
            }
            return self::$handedOver ? '' : $output;
        });
        foreach ($headers as $name => $value) {
            header("$name: $value");
        }
        register_shutdown_function(self::takeBackAfterError(...));
        self::watchExceptions();
    }

    /** Undoes respond(), if the headers have not left: the script answers by itself after all. */
    public static function takeBack(int $status = 500): void
    {
        if (headers_sent()) {
            return;
        }
        if (self::$handedOver) {
            self::removeHeaders();
            http_response_code($status);
        }
        // That of headers(), if the application does not send them.
        self::removeFile();
    }

    private static function takeBackAfterError(): void
    {
        $fatal = E_ERROR | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR | E_PARSE;
        if (((error_get_last()['type'] ?? 0) & $fatal) !== 0) {
            self::takeBack();
        }
    }

    /** An exception for which the site has a handler is no fatal error, and leaves the status at 200. */
    private static function watchExceptions(): void
    {
        $handler = null;
        $handler = set_exception_handler(static function (\Throwable $exception) use (&$handler): void {
            self::takeBack();
            $handler($exception);
        });
        if (!is_callable($handler)) {
            restore_exception_handler();
        }
    }

    private static function removeFile(): void
    {
        if (self::$file !== null) {
            @unlink(self::$file);
            self::$file = null;
        }
    }

    /** Those of respond(), with the file that they name. */
    private static function removeHeaders(): void
    {
        if (!self::$handedOver) {
            return;
        }
        self::$handedOver = false;
        self::removeFile();
        foreach (headers_list() as $header) {
            $name = strstr($header, ':', true);
            if (is_string($name) && preg_match('/^X-(Socket-Handoff|Handoff-Data(-\d+|-File)?)$/iD', $name)) {
                header_remove($name);
            }
        }
    }

    /** A file below SocketHandoffDataPrefix, which the module reads and removes. Without one, headers do too. */
    private static function write(string $json): bool
    {
        $directory = $_SERVER['SOCKET_HANDOFF_DATA'] ?? getenv('SOCKET_HANDOFF_DATA');
        if (!is_string($directory) || $directory === '') {
            return false;
        }
        $file = rtrim($directory, '/') . '/' . bin2hex(random_bytes(16)) . '.json';
        // httpd's user may be another one, in the group of the directory.
        if (@file_put_contents($file, $json) === strlen($json) && chmod($file, 0640)) {
            self::$file = $file;
            return true;
        }
        @unlink($file);
        error_log("handoff: cannot write below SocketHandoffDataPrefix $directory; the headers hold the data instead");
        return false;
    }

    /** @return array<string, string> */
    private static function traceContext(): array
    {
        $parent = $_SERVER['HTTP_TRACEPARENT'] ?? '';
        return $parent !== '' && Values::problem('traceparent', $parent) === null ? ['traceparent' => $parent] : [];
    }

    /** What is asked of a kept answer. */
    private function about(string $what, string $id): self
    {
        $this->answer = $what;
        return $this->with($what, preg_match(Values::ID, $id) ? $id
            : throw new InvalidHandoff("$what: this is no id of an answer."));
    }

    /** @return array<string, mixed> the fields, if nothing of them would be lost */
    private function checked(): array
    {
        $fields = $this->fields;
        if (isset($fields['response_headers'])) {
            // A map, even if its names are numbers.
            $fields['response_headers'] = (object) $fields['response_headers'];
        }
        $fields = Values::plain($fields, '');
        foreach ($fields as $field => $value) {
            $problem = Values::problem((string) $field, $value);
            if ($problem !== null) {
                throw new InvalidHandoff($problem);
            }
        }
        if ($this->answer !== '') {
            $this->checkAnswer($fields);
        } else {
            self::checkQuestion($fields);
        }
        return $fields;
    }

    /** @param array<string, mixed> $fields */
    private function checkAnswer(array $fields): void
    {
        if (isset($fields['messages']) || isset($fields['prompt'])) {
            throw new InvalidHandoff("$this->answer is about an answer that there is: nothing is asked with it.");
        }
        if (isset($fields['resume'], $fields['stop'])) {
            throw new InvalidHandoff('An answer is read (resume) or ended (stop): with both, the daemon ignores stop.');
        }
    }

    /** @param array<string, mixed> $fields */
    private static function checkQuestion(array $fields): void
    {
        $messages = $fields['messages'] ?? [];
        if (!is_array($messages)) {
            throw new InvalidHandoff('messages: the daemon ignores this value.');
        }
        if (isset($fields['messages'], $fields['prompt'])) {
            throw new InvalidHandoff('A conversation holds everything: with it, the daemon ignores prompt.');
        }
        $roles = array_map(static fn (array|\stdClass $message): string => ((array) $message)['role'], $messages);
        if (isset($fields['system']) && array_intersect(['system', 'developer'], $roles) !== []) {
            throw new InvalidHandoff('The conversation has a system message: with it, the daemon ignores system.');
        }
        if ($messages === [] && trim((string) ($fields['prompt'] ?? '')) === '') {
            throw new InvalidHandoff('There is nothing to ask: no prompt, and no message.');
        }
    }
}
