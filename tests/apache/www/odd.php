<?php
// Values that applications give to the library, of every kind. The query names one; without it, all names are listed.
declare(strict_types=1);

require __DIR__ . '/../php/autoload.php';

use StreamingDaemon\{Handoff, HandoffException};

enum Role: string
{
    case User = 'user';
}

enum Plain
{
    case Text;
}

final class Message implements JsonSerializable
{
    public function __construct(private readonly mixed $content)
    {
    }

    public function jsonSerialize(): array
    {
        return ['role' => 'user', 'content' => $this->content];
    }
}

final class Text
{
    public function __toString(): string
    {
        return 'a text';
    }
}

$user = ['role' => 'user', 'content' => 'x'];
$call = ['id' => '1', 'type' => 'function', 'function' => ['name' => 'f', 'arguments' => '{}']];
$loop = ['a' => 1];
$loop['itself'] = &$loop;
$deep = [];
for ($i = 0; $i < 600; $i++) {
    $deep = [$deep];
}
$talk = static fn (mixed $content, array $more = []) =>
    static fn ($h) => $h->conversation([$user, ['role' => 'user', 'content' => $content] + $more]);
$assistant = static fn (array $fields) =>
    static fn ($h) => $h->conversation([$user, ['role' => 'assistant'] + $fields]);
$with = static fn (string $field, mixed $value) => static fn ($h) => $h->prompt('x')->with($field, $value);

// What is refused has the words of the message; everything else is served as it is.
$cases = [
    'generator' => fn ($h) => $h->conversation((function () use ($user) {
        yield 'k' => $user;
        yield 'k' => $user;
    })()),
    'objects of json_decode()' => fn ($h) => $h->conversation(json_decode('[{"role":"user","content":"x"}]')),
    'objects that are JsonSerializable' => fn ($h) => $h->conversation([new Message('x')]),
    'JsonSerializable without content' => ['messages[0] has no content', fn ($h) => $h->conversation([new Message(null)])],
    'role of an enum' => fn ($h) => $h->conversation([['role' => Role::User, 'content' => 'x']]),
    'role of an enum without values' => ['messages[0].role is a Plain', fn ($h) => $h->conversation([['role' => Plain::Text, 'content' => 'x']])],
    'ArrayObject' => fn ($h) => $h->conversation(new ArrayObject([$user])),
    'messages by with()' => fn ($h) => $h->with('messages', [7 => $user]),
    'messages that are one message' => ['messages[0] has no role', fn ($h) => $h->with('messages', $user)],
    'messages that are a text' => ['messages: the daemon ignores', fn ($h) => $h->with('messages', 'x')],
    'messages that are null, and a prompt' => $with('messages', null),

    'content null' => ['messages[1] has no content', $talk(null)],
    'content 5' => $talk(5),
    'content 1.5' => $talk(1.5),
    'content true' => ['messages[1] has no content', $talk(true)],
    'content []' => ['messages[1] has no content', $talk([])],
    'content [[]]' => ['messages[1] has no content', $talk([[]])],
    'content of texts' => ['messages[1] has no content', $talk(['x'])],
    'content that is one part' => ['messages[1] has no content', $talk(['type' => 'text', 'text' => 'x'])],
    'content of parts' => $talk([['type' => 'text', 'text' => 'x']]),
    'content of parts with gaps between their keys' => $talk([3 => ['type' => 'text', 'text' => 'x']]),
    'content of parts that are objects' => $talk([(object) ['type' => 'text', 'text' => 'x']]),
    'content that is Stringable' => $talk(new Text()),
    'content that is empty' => $talk(''),
    'content that a user refuses' => ['messages[1] has no content', $talk(null, ['refusal' => 'no'])],
    'calls and content null' => $assistant(['content' => null, 'tool_calls' => [$call]]),
    'no calls and content null' => ['messages[1] has no content', $assistant(['content' => null, 'tool_calls' => []])],
    'function_call' => $assistant(['function_call' => ['name' => 'f', 'arguments' => '{}']]),
    'refusal' => $assistant(['refusal' => 'no']),
    'audio' => $assistant(['audio' => ['id' => 'a']]),
    'result that is no text' => ['messages[2] has no content', fn ($h) => $h->conversation([$user,
        ['role' => 'assistant', 'tool_calls' => [$call]], ['role' => 'tool', 'tool_call_id' => '1', 'content' => ['a' => 1]]])],

    'prompt 0' => fn ($h) => $h->prompt('0'),
    'prompt 5' => $with('prompt', 5),
    'prompt true' => ['prompt: the daemon ignores', $with('prompt', true)],
    'prompt of an array' => ['prompt: the daemon ignores', $with('prompt', ['x'])],
    'prompt of an object' => ['prompt: the daemon ignores', $with('prompt', new stdClass())],
    'prompt that is Stringable' => $with('prompt', new Text()),
    'prompt of control characters' => fn ($h) => $h->prompt("\0\x01\r\n\x7f"),
    'prompt of odd characters' => fn ($h) => $h->prompt("\u{FFFE}\u{2028}\u{10FFFF}"),
    'model of an array' => ['model: the daemon ignores', $with('model', ['m'])],
    'model of 1025 letters' => ['model: the daemon ignores', fn ($h) => $h->prompt('x')->model(str_repeat('m', 1025))],
    'model of 1024 letters' => fn ($h) => $h->prompt('x')->model(str_repeat('m', 1024)),
    'format of nobody' => ['format: the daemon ignores', $with('format', 'html')],
    'format' => $with('format', 'text'),
    'request_id with a space' => ['request_id: the daemon ignores', $with('request_id', 'a b')],
    'request_id 5' => $with('request_id', 5),
    'model that is empty' => fn ($h) => $h->prompt('x')->model(''),

    'user of lines' => fn ($h) => $h->prompt('x')->user("a\r\nb"),
    'user of 100000 letters' => fn ($h) => $h->prompt('x')->user(str_repeat('u', 100000)),
    'user of spaces' => ['user: ', fn ($h) => $h->prompt('x')->user(" \u{a0}")],
    'user 1.0' => $with('user_id', 1.0),
    'user 1.5' => ['user_id: the daemon ignores', $with('user_id', 1.5)],
    'user 1e300' => ['user_id: the daemon ignores', $with('user_id', 1e300)],
    'user of an array' => ['user_id: the daemon ignores', $with('user_id', [1])],

    'resource' => ['metadata.f is a resource', $with('metadata', ['f' => fopen('php://memory', 'r')])],
    'closure' => ['metadata.f is a Closure', $with('metadata', ['f' => fn () => 1])],
    'array that holds itself' => ['metadata nests deeper', $with('metadata', $loop)],
    'array of 600 levels' => ['metadata nests deeper', $with('metadata', $deep)],
    'name that is not UTF-8' => ['metadata has a name', $with('metadata', ["\xff" => 1])],
    'member that is not UTF-8' => ['metadata.a is not valid', $with('metadata', (object) ['a' => "\xff"])],
    'infinite' => ['top_p is no finite number', $with('top_p', INF)],
    'number in a text' => $with('top_p', '0.5'),
    'number that is a word' => ['top_p: the daemon ignores', $with('top_p', 'much')],
    'max_tokens -1' => ['max_tokens: the daemon ignores', $with('max_tokens', -1)],
    'max_tokens of 64 bits' => fn ($h) => $h->prompt('x')->maxTokens(PHP_INT_MAX),
    'max_tokens 1e19' => ['max_tokens: the daemon ignores', $with('max_tokens', '1e19')],
    'max_tokens 1e3' => $with('max_tokens', '1e3'),
    'temperature 1e999' => ['temperature: the daemon ignores', $with('temperature', '1e999')],
    'keep no' => $with('keep', 'no'),
    'keep maybe' => ['keep: the daemon ignores', $with('keep', 'maybe')],
    'events with gaps between their keys' => $with('events', [2 => 'finish']),
    'stream 1' => $with('stream', '1'),
    'events that are a word' => ['events: the daemon ignores', $with('events', 'finish')],
    'events with an unknown one' => ['events: the daemon ignores', $with('events', ['finish', 'begin'])],
    'events' => $with('events', ['finish', 'usage']),
    'delivery of a list' => ['delivery: the daemon ignores', $with('delivery', [1, 2])],
    'delivery that is empty' => $with('delivery', []),
    'traceparent of zeros' => ['traceparent: the daemon ignores', $with('traceparent', '00-' . str_repeat('0', 32) . '-00f067aa0ba902b7-01')],
    'stream false' => ['stream: the daemon ignores', $with('stream', false)],
    'field of another daemon' => ['thread_id: the daemon never sends', $with('thread_id', 't')],

    'response_headers that are a text' => ['response_headers are names', $with('response_headers', 'X: y')],
    'response_headers of a number' => ['the value of X-A is no text', $with('response_headers', ['X-A' => 5])],
    'response_headers with lines' => ['X-A has a control character', $with('response_headers', ['X-A' => "a\r\nSet-Cookie: x=y"])],
    'response_headers of both ways' => fn ($h) => $h->prompt('x')->with('response_headers', ['X-A' => 'a', 'X-B' => ['b']])->responseHeader('X-A', 'c'),
    'response_headers that are empty' => $with('response_headers', []),
    'response header whose name is a number' => fn ($h) => $h->prompt('x')->responseHeader('0', 'a'),
    'response header that is not UTF-8' => ['response_headers.X-A[0] is not valid', fn ($h) => $h->prompt('x')->responseHeader('X-A', "caf\xe9")],
    'X-Answer-Id' => ['X-Answer-Id is written by the daemon', fn ($h) => $h->prompt('x')->responseHeader('X-Answer-Id', 'a')],
];

$name = $_GET['case'] ?? null;
if ($name === null) {
    exit(implode("\n", array_keys($cases)));
}
[$words, $make] = is_array($cases[$name]) ? $cases[$name] : [null, $cases[$name]];
$handoff = Handoff::to($_SERVER['HANDOFF_SOCKET'] ?? getenv('HANDOFF_SOCKET'));
try {
    $make($handoff)->respond();
} catch (HandoffException $error) {
    $isRight = $words !== null && str_contains($error->getMessage(), $words) && strlen($error->getMessage()) < 200;
    exit(($isRight ? 'refused: ' : 'refused in other words: ') . $error->getMessage());
}
if ($words !== null) {
    Handoff::takeBack();
    echo "served, and not refused with: $words";
}
