<?php
declare(strict_types=1);

namespace StreamingDaemon;

/** @internal What the daemon can use of a value. The rules are those of docs/handoff.md. */
final class Values
{
    /** As deep as the daemon reads. */
    private const MAX_DEPTH = 512;

    /** Members that are objects: PHP cannot tell an empty one from an empty list. */
    private const OBJECTS = [
        'response_headers', 'parameters', 'properties', 'patternProperties', '$defs', 'definitions', 'schema',
        'input_schema', 'items', 'additionalProperties', 'metadata', 'delivery', 'input', 'web_search_options',
    ];

    /** Where members have names of the site's own choice, and values that come back as they were. */
    private const OWN_MEMBERS = '/^(delivery|metadata)\b|\.(const|default|enum|examples)\b/';

    /** W3C's Trace Context, without further parts. All zeros is no id. */
    private const TRACE_PARENT
        = '/^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/D';

    /** What the daemon takes over as it is: 1 to 128 printable characters. */
    public const ID = '/^[!#-\[\]-~]{1,128}$/D';

    /** The daemon reads a number as its text: JSON_NUMERIC_CHECK makes one of a user's "42". */
    private const TEXTS = ['prompt', 'system', 'resume'];

    private const NAMES = ['model', 'backend', 'test_pattern'];

    private const FORMATS = ['text', 'openai'];

    private const NUMBERS = [
        'temperature', 'max_completion_tokens', 'n', 'top_p', 'frequency_penalty', 'presence_penalty', 'seed',
        'top_logprobs',
    ];

    private const EVENTS = ['reasoning', 'finish', 'usage'];

    /** Of other daemons behind the module: they may hold keys or addresses, and are never sent. */
    private const NEVER_SENT = [
        'backend_url', 'thread_id', 'assistant_id', 'stream_mode', 'profile', 'lg', 'langgraph_input',
        'langgraph_url', 'langgraph_api_key', 'images', 'image_paths', 'image_path', 'image_base64',
        'image_mime_type', 'attachments', 'attachment_types',
    ];

    /** Arrays, plain objects and scalars alone: UTF-8 checked, and empty objects told from empty lists. */
    public static function plain(mixed $value, string $at, int $depth = 1): mixed
    {
        if (is_string($value) && preg_match('//u', $value) !== 1) {
            throw new InvalidHandoff("$at is not valid UTF-8.");
        }
        if (is_float($value) && !is_finite($value)) {
            throw new InvalidHandoff("$at is no finite number.");
        }
        if (!is_array($value) && !is_object($value)) {
            return $value === null || is_scalar($value) ? $value
                : throw new InvalidHandoff("$at is a " . get_debug_type($value) . ', which has no JSON.');
        }
        // An array that holds itself gets there too.
        if ($depth > self::MAX_DEPTH) {
            throw new InvalidHandoff(strtok($at, '.[') . ' nests deeper than ' . self::MAX_DEPTH . ' levels.');
        }
        return is_array($value) ? self::members($value, $at, $depth) : self::object($value, $at, $depth);
    }

    /** Why the daemon would ignore the field; null if it would not. */
    public static function problem(string $field, mixed $value): ?string
    {
        $fits = $value === null || match (true) {
            in_array($field, self::NEVER_SENT, true) => false,
            in_array($field, self::TEXTS, true) => self::isText($value),
            in_array($field, self::NAMES, true) => self::isText($value)
                && preg_match('/^.{0,1024}$/Dsu', (string) $value) === 1,
            in_array($field, self::NUMBERS, true) => is_numeric($value) && is_finite((float) $value),
            default => match ($field) {
                'user_id' => is_int($value) || (is_string($value) && preg_match('/^\s*$/Du', $value) !== 1)
                    || (is_float($value) && floor($value) === $value && abs($value) < 9e18),
                'request_id' => is_int($value) || (is_string($value) && preg_match(self::ID, $value) === 1),
                'max_tokens' => is_numeric($value) && self::isCount($value + 0),
                'keep' => self::flag($value) !== null,
                'stream' => self::flag($value) === true,
                'format' => in_array($value, self::FORMATS, true),
                'traceparent' => is_string($value) && preg_match(self::TRACE_PARENT, $value) === 1,
                'events' => is_array($value) && self::isList($value)
                    && array_filter($value, static fn ($name): bool => !in_array($name, self::EVENTS, true)) === [],
                'delivery' => $value === [] || self::isObject($value),
                default => true,
            },
        };
        return $fits ? null : (in_array($field, self::NEVER_SENT, true)
            ? "$field: the daemon never sends this field." : "$field: the daemon ignores this value.");
    }

    /**
     * @param mixed $message plain
     * @return array<string, mixed>|\stdClass the message, if the daemon would send it
     */
    public static function message(mixed $message, string $at): array|\stdClass
    {
        $fields = self::isObject($message) ? (array) $message : [];
        if (!is_string($fields['role'] ?? null) || $fields['role'] === '') {
            throw new InvalidHandoff("$at has no role.");
        }
        if (!self::isText($fields['content'] ?? null) && !self::hasObject($fields['content'] ?? null)
            && ($fields['role'] !== 'assistant' || !self::saysElse($fields))) {
            throw new InvalidHandoff("$at has no content: a text, or a list of parts.");
        }
        return $message;
    }

    /** @param array<mixed> $members */
    private static function members(array $members, string $at, int $depth, ?bool $isList = null): array
    {
        $isList ??= array_is_list($members);
        foreach ($members as $key => $member) {
            if (is_string($key) && preg_match('//u', $key) !== 1) {
                throw new InvalidHandoff(($at === '' ? 'A field' : $at) . ' has a name that is not valid UTF-8.');
            }
            $path = $isList ? "{$at}[$key]" : ($at === '' ? (string) $key : "$at.$key");
            $members[$key] = $member === [] && !$isList && in_array($key, self::OBJECTS, true)
                && preg_match(self::OWN_MEMBERS, $at) !== 1
                ? new \stdClass()
                : self::plain($member, $path, $depth + 1);
        }
        return $members;
    }

    private static function object(object $object, string $at, int $depth): mixed
    {
        if ($object instanceof \stdClass) {
            return (object) self::members((array) $object, $at, $depth, isList: false);
        }
        if ($object instanceof \BackedEnum) {
            return $object->value;
        }
        if ($object instanceof \JsonSerializable) {
            return self::plain($object->jsonSerialize(), $at, $depth + 1);
        }
        if ($object instanceof \Traversable) {
            return self::plain(iterator_to_array($object, !$object instanceof \Generator), $at, $depth);
        }
        if ($object instanceof \Stringable) {
            return self::plain((string) $object, $at, $depth);
        }
        $public = $object instanceof \UnitEnum ? [] : get_object_vars($object);
        return $public !== [] ? self::plain($public, $at, $depth)
            : throw new InvalidHandoff("$at is a " . get_debug_type($object) . ', which has no JSON.');
    }

    private static function isText(mixed $value): bool
    {
        return is_string($value) || is_int($value) || is_float($value);
    }

    private static function isCount(int|float $number): bool
    {
        return $number > 0 && (is_int($number) || (floor($number) === $number && $number < 9.2e18));
    }

    /** What filter_var() takes for true or false; null if it is neither. */
    private static function flag(mixed $value): ?bool
    {
        return is_bool($value) || is_int($value) || is_string($value)
            ? filter_var($value, FILTER_VALIDATE_BOOL, FILTER_NULL_ON_FAILURE) : null;
    }

    /** A list, with gaps if array_filter() has made some: the daemon closes them. */
    private static function isList(array $value): bool
    {
        return array_filter(array_keys($value), is_string(...)) === [];
    }

    private static function isObject(mixed $value): bool
    {
        return $value instanceof \stdClass || (is_array($value) && $value !== [] && !array_is_list($value));
    }

    /** Is it a list with an object in it, such as parts and calls of tools? */
    private static function hasObject(mixed $list): bool
    {
        return is_array($list) && self::isList($list) && array_filter($list, self::isObject(...)) !== [];
    }

    /** @param array<string, mixed> $fields of an assistant's message */
    private static function saysElse(array $fields): bool
    {
        $refusal = $fields['refusal'] ?? '';
        return self::hasObject($fields['tool_calls'] ?? null) || self::isObject($fields['function_call'] ?? null)
            || self::isObject($fields['audio'] ?? null) || (is_string($refusal) && $refusal !== '');
    }
}
