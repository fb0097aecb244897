<?php
declare(strict_types=1);

use PHPUnit\Framework\TestCase;
use StreamingDaemon\{Handoff, HandoffException, HandoffTooLarge, InvalidHandoff, ModuleUnavailable};

final class HandoffTest extends TestCase
{
    protected function setUp(): void
    {
        $_SERVER['SOCKET_HANDOFF'] = '1';
    }

    private static function handoff(): Handoff
    {
        return Handoff::to('/run/daemon.sock');
    }

    public function testFieldsHaveTheNamesOfTheProtocol(): void
    {
        $json = self::handoff()->user(42)->conversation([['role' => 'user', 'content' => 'Zürich/🙂']])
            ->model('m')->maxTokens(5)->temperature(1)->requestId('r-1')->backend('openai')->keep()
            ->responseHeader('X-A', '1')->responseHeader('X-A', '2')->with('metadata', [])->json();

        self::assertSame('{"user_id":42,"messages":[{"role":"user","content":"Zürich/🙂"}],"model":"m","max_tokens":5,'
            . '"temperature":1.0,"request_id":"r-1","backend":"openai","keep":true,"response_headers":{"X-A":["1","2"]},'
            . '"metadata":{}}', $json);
    }

    public function testEmptyArraysAreObjectsOnlyWhereTheProtocolHasObjects(): void
    {
        $tool = ['type' => 'function', 'function' => ['name' => 'now', 'parameters' => [
            'type' => 'object', 'properties' => [], 'required' => []]]];
        $json = self::handoff()->prompt('x')->with('tools', [$tool])->with('stop', [])->json();

        self::assertStringContainsString('"properties":{},"required":[]', $json);
        self::assertStringContainsString('"stop":[]', $json);
    }

    public function testEmptyArraysOfTheSitesOwnStayAsTheyAre(): void
    {
        $tool = ['type' => 'function', 'function' => ['name' => 'f', 'parameters' => ['properties' => [
            'a' => ['type' => 'array', 'items' => [], 'default' => ['items' => []]]]]]];
        $json = self::handoff()->prompt('x')->with('delivery', ['items' => [], 'metadata' => []])
            ->with('web_search_options', [])->with('tools', [$tool])->json();

        self::assertStringContainsString('"delivery":{"items":[],"metadata":[]},"web_search_options":{}', $json);
        self::assertStringContainsString('"items":{},"default":{"items":[]}', $json);
    }

    public function testConversationIsAListWhateverItsKeys(): void
    {
        $messages = [7 => ['role' => 'user', 'content' => 'a'], 'x' => ['role' => 'assistant', 'content' => 'b']];
        self::assertStringContainsString('"messages":[{"role":"user"', self::handoff()->conversation($messages)->json());
    }

    public function testUsersAreAnyNumberOrText(): void
    {
        self::assertStringContainsString('"user_id":"007"', self::handoff()->user('007')->prompt('x')->json());
        self::assertStringContainsString('"user_id":7', self::handoff()->user(7)->prompt('x')->json());
    }

    public function testTraceContextOfTheRequestIsSentUnlessItIsNone(): void
    {
        $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
        $none = '00-00000000000000000000000000000000-00f067aa0ba902b7-01';
        $others = ["$trace-x", strtoupper($trace), "a\nb", '', $none, 'ff' . substr($trace, 2)];
        foreach ([$trace => true] + array_fill_keys($others, false) as $sent => $isTaken) {
            $_SERVER['HTTP_TRACEPARENT'] = $sent;
            self::assertSame('{"prompt":"x"' . ($isTaken ? ",\"traceparent\":\"$trace\"" : '') . '}',
                self::handoff()->prompt('x')->json());
        }
        $_SERVER['HTTP_TRACEPARENT'] = $trace;
        $mine = str_replace('-01', '-00', $trace);
        self::assertSame("{\"prompt\":\"x\",\"traceparent\":\"$mine\"}",
            self::handoff()->prompt('x')->with('traceparent', $mine)->json());
        self::assertSame("{\"stop\":\"a1\",\"traceparent\":\"$trace\"}", self::handoff()->stop('a1')->json());
        unset($_SERVER['HTTP_TRACEPARENT']);
    }

    public function testSystemIsSentBesideAConversationThatHasNone(): void
    {
        $json = self::handoff()->system('a')->conversation([['role' => 'user', 'content' => 'b']])->json();
        self::assertStringStartsWith('{"system":"a","messages":[', $json);
    }

    public function testShortHandoffIsOneHeaderThatAnyModuleKnows(): void
    {
        self::assertSame(
            ['X-Socket-Handoff' => '/run/daemon.sock', 'X-Handoff-Data' => '{"prompt":"x"}'],
            self::handoff()->prompt('x')->headers(),
        );
    }

    public function testKeptAnswerIsReadOnOrStoppedWithoutAQuestion(): void
    {
        self::assertSame('{"user_id":7,"resume":"a1","last_event_id":17}',
            self::handoff()->user(7)->resume('a1', ' 17')->json());
        self::assertSame('{"resume":"a1"}', self::handoff()->resume('a1', '')->json());
        self::assertSame('{"user_id":7,"stop":"a1"}', self::handoff()->user(7)->stop('a1')->json());
        // The API's parameter, the texts at which the model stops.
        self::assertSame('{"prompt":"x","stop":"a1"}', self::handoff()->prompt('x')->with('stop', 'a1')->json());
    }

    /** @dataProvider longPrompts */
    public function testPartsJoinToTheSameJson(string $prompt): void
    {
        $headers = self::handoff()->prompt($prompt)->headers();
        unset($headers['X-Socket-Handoff']);
        $joined = '';
        foreach (array_values($headers) as $index => $part) {
            $name = 'X-Handoff-Data-' . ($index + 1);
            self::assertSame($part, $headers[$name]);
            self::assertLessThanOrEqual(8189, strlen("$name: $part"));
            // As httpd and PHP do with a header's value.
            $joined .= trim($part);
        }
        self::assertSame($prompt, json_decode($joined)->prompt);
    }

    public static function longPrompts(): array
    {
        return [
            'one byte too long for a line' => [str_repeat('x', 8001 - strlen('{"prompt":""}'))],
            'only spaces' => [str_repeat(' ', 50000) . '.'],
            'a space at a line\'s end' => [str_repeat('x', 7999 - strlen('{"prompt":"')) . ' ' . str_repeat('y', 9000)],
            'a space at a line\'s begin' => [str_repeat('x', 8000 - strlen('{"prompt":"')) . ' ' . str_repeat('y', 9000)],
            'characters of several bytes' => [str_repeat('日本 🙂', 5000)],
            'backslashes' => [str_repeat('\\ "', 20000)],
            'as long as a message may be' => [str_repeat('x', 212960 - strlen('{"prompt":""}'))],
            'longer than a message' => [str_repeat('x', 5000000)],
        ];
    }

    public function testOneByteMoreThanTheDaemonCanTakeIsTooLarge(): void
    {
        try {
            self::handoff()->prompt(str_repeat('x', Handoff::MAX_BYTES + 1 - strlen('{"prompt":""}')))->headers();
            self::fail('It was accepted.');
        } catch (HandoffTooLarge $error) {
            self::assertSame(67108865, $error->bytes);
            self::assertSame(67108864, $error->limit);
        }
    }

    public function testLongHandoffIsAFileIfTheModuleHasADirectoryForIt(): void
    {
        $directory = sys_get_temp_dir() . '/handoff-' . bin2hex(random_bytes(4));
        mkdir($directory);
        $_SERVER['SOCKET_HANDOFF_DATA'] = "$directory/";
        try {
            $short = self::handoff()->prompt(str_repeat('x', 212960 - strlen('{"prompt":""}')))->headers();
            self::assertArrayNotHasKey('X-Handoff-Data-File', $short);
            $long = self::handoff()->prompt(str_repeat('x', 212961 - strlen('{"prompt":""}')))->headers();

            self::assertSame(['X-Socket-Handoff', 'X-Handoff-Data-File'], array_keys($long));
            self::assertStringStartsWith("$directory/", $long['X-Handoff-Data-File']);
            self::assertSame(212961, filesize($long['X-Handoff-Data-File']));
            self::assertSame(0640, fileperms($long['X-Handoff-Data-File']) & 0777);
        } finally {
            array_map('unlink', glob("$directory/*"));
            rmdir($directory);
            unset($_SERVER['SOCKET_HANDOFF_DATA']);
        }
    }

    public function testLongHandoffIsHeadersIfTheDirectoryTakesNoFile(): void
    {
        $_SERVER['SOCKET_HANDOFF_DATA'] = '/proc/none';
        $log = ini_set('error_log', '/dev/null');
        try {
            $headers = self::handoff()->prompt(str_repeat('x', 300000))->headers();
            self::assertArrayHasKey('X-Handoff-Data-38', $headers);
        } finally {
            ini_set('error_log', (string) $log);
            unset($_SERVER['SOCKET_HANDOFF_DATA']);
        }
    }

    public function testWithoutTheModuleNoHeaderIsMade(): void
    {
        unset($_SERVER['SOCKET_HANDOFF']);
        self::assertFalse(Handoff::isAvailable());
        $this->expectException(ModuleUnavailable::class);
        self::handoff()->prompt('secret')->headers();
    }

    /** @dataProvider lossyHandoffs */
    public function testWhatWouldBeLostIsRefusedByName(string $name, callable $make): void
    {
        try {
            $make(self::handoff())->json();
            self::fail('It was accepted.');
        } catch (HandoffException $error) {
            self::assertInstanceOf(InvalidHandoff::class, $error);
            self::assertStringContainsString($name, $error->getMessage());
        }
    }

    public static function lossyHandoffs(): array
    {
        $talk = [['role' => 'user', 'content' => 'x']];
        return [
            ['nothing to ask', fn ($h) => $h],
            ['nothing to ask', fn ($h) => $h->conversation([])],
            ['nothing to ask', fn ($h) => $h->prompt("  \n")],
            ['nothing is asked with it', fn ($h) => $h->resume('a1')->prompt('x')],
            ['nothing is asked with it', fn ($h) => $h->conversation($talk)->stop('a1')],
            ['no number', fn ($h) => $h->resume('a1', '17x')],
            ['no id of an answer', fn ($h) => $h->resume('')],
            ['no id of an answer', fn ($h) => $h->stop('a b')],
            ['ignores prompt', fn ($h) => $h->prompt('a')->conversation($talk)],
            ['ignores system', fn ($h) => $h->system('a')->conversation([['role' => 'system', 'content' => 'b'], ...$talk])],
            ['messages[0] has no role', fn ($h) => $h->conversation([['content' => 'x']])],
            ['messages[0] has no role', fn ($h) => $h->conversation(['text'])],
            ['messages[1] has no content', fn ($h) => $h->conversation([$talk[0], ['role' => 'user']])],
            ['prompt is not valid UTF-8', fn ($h) => $h->prompt("\xff")],
            ['messages[0].content is not valid UTF-8',
                fn ($h) => $h->conversation([['role' => 'user', 'content' => "caf\xe9"]])],
            ['messages[0].content[1].text', fn ($h) => $h->conversation([['role' => 'user', 'content' => [
                ['type' => 'text', 'text' => 'a'], ['type' => 'text', 'text' => "\xff"]]]])],
            ['extra is no finite number', fn ($h) => $h->prompt('x')->with('extra', NAN)],
            ['user', fn ($h) => $h->user('')],
            ['max_tokens', fn ($h) => $h->maxTokens(0)],
            ['temperature', fn ($h) => $h->temperature(INF)],
            ['request_id', fn ($h) => $h->requestId('a b')],
            ['request_id', fn ($h) => $h->requestId('a"b')],
            ['request_id', fn ($h) => $h->requestId(str_repeat('a', 129))],
            ['request_id', fn ($h) => $h->requestId('')],
            ['Content-Type', fn ($h) => $h->responseHeader('Content-Type', 'text/plain')],
            ['X-A has a control', fn ($h) => $h->responseHeader('X-A', "a\r\nSet-Cookie: x")],
            ['no name', fn ($h) => $h->responseHeader("X A", 'a')],
            ['no name', fn ($h) => $h->responseHeader('', 'a')],
            ['16 KiB', fn ($h) => $h->responseHeader('X-A', str_repeat('a', 16384))],
        ];
    }

    public function testHeaderSixtyFiveIsRefused(): void
    {
        $handoff = self::handoff();
        for ($i = 0; $i < 64; $i++) {
            $handoff->responseHeader('Set-Cookie', "a$i=b");
        }
        $this->expectException(InvalidHandoff::class);
        $handoff->responseHeader('Set-Cookie', 'one=more');
    }

    /**
     * @testWith ["run/daemon.sock"]
     *           [""]
     *           ["/run/a b"]
     *           ["/run/a\r\nX: y"]
     */
    public function testSocketIsAnAbsolutePath(string $socket): void
    {
        $this->expectException(InvalidHandoff::class);
        Handoff::to($socket);
    }

    public function testPathThatNoSocketAddressHoldsIsRefused(): void
    {
        Handoff::to('/' . str_repeat('x', 106));
        $this->expectException(InvalidHandoff::class);
        Handoff::to('/' . str_repeat('x', 107));
    }
}
