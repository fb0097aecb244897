<?php
declare(strict_types=1);

use PHPUnit\Framework\TestCase;
use StreamingDaemon\{Delivery, InvalidDelivery, StaleDelivery};

final class DeliveryTest extends TestCase
{
    // The example of the specification of Standard Webhooks.
    private const SECRET = 'whsec_plJ3nmyCDGBKInavdOK15jsl';
    private const BODY = '{"event_type":"ping","data":{"success":true}}';
    private const TIME = 1731705121;
    private const HEADERS = [
        'HTTP_WEBHOOK_ID' => 'msg_loFOjxBNrRLzqYUf',
        'HTTP_WEBHOOK_TIMESTAMP' => '1731705121',
        'HTTP_WEBHOOK_SIGNATURE' => 'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
    ];

    public function testSignatureOfTheSpecificationIsGood(): void
    {
        Delivery::verify(self::BODY, self::HEADERS, self::SECRET, now: self::TIME);
        Delivery::verify(self::BODY, self::HEADERS, self::SECRET, now: self::TIME + 300);
        // One of several, while a secret changes; and the headers as frameworks have them.
        Delivery::verify(self::BODY, [
            'Webhook-Id' => ['msg_loFOjxBNrRLzqYUf'],
            'webhook-timestamp' => '1731705121',
            'webhook-signature' => 'v1,AAAA v2,x ' . self::HEADERS['HTTP_WEBHOOK_SIGNATURE'],
        ], self::SECRET, now: self::TIME);
        $this->addToAssertionCount(3);
    }

    public function testEitherSecretIsGoodWhileItChanges(): void
    {
        Delivery::verify(self::BODY, self::HEADERS, ['whsec_bmV3', self::SECRET], now: self::TIME);
        Delivery::verify(self::BODY, self::HEADERS, [self::SECRET, 'whsec_b2xk'], now: self::TIME);
        $this->expectExceptionMessage('No signature fits');
        Delivery::verify(self::BODY, self::HEADERS, ['whsec_bmV3', 'whsec_b2xk'], now: self::TIME);
    }

    public function testOldDeliveryIsToldFromAForgedOne(): void
    {
        try {
            Delivery::verify(self::BODY, ['HTTP_WEBHOOK_SIGNATURE' => 'v1,AAAA'] + self::HEADERS, self::SECRET, now: self::TIME + 301);
        } catch (InvalidDelivery $e) {
            $this->assertNotInstanceOf(StaleDelivery::class, $e);
        }
        $this->expectException(StaleDelivery::class);
        Delivery::verify(self::BODY, self::HEADERS, self::SECRET, now: self::TIME + 301);
    }

    /** @dataProvider forgeries */
    public function testAnythingElseIsRefused(string $reason, array $headers, string $body, int $now): void
    {
        $this->expectException(InvalidDelivery::class);
        $this->expectExceptionMessage($reason);
        Delivery::verify($body, $headers + self::HEADERS, self::SECRET, now: $now);
    }

    public static function forgeries(): array
    {
        return [
            ['No signature fits', [], self::BODY . ' ', self::TIME],
            ['No signature fits', ['HTTP_WEBHOOK_ID' => 'msg_other'], self::BODY, self::TIME],
            ['No signature fits', ['HTTP_WEBHOOK_TIMESTAMP' => '1731705122'], self::BODY, self::TIME],
            ['No signature fits', ['HTTP_WEBHOOK_SIGNATURE' => 'v1,'], self::BODY, self::TIME],
            ['No signature fits', ['HTTP_WEBHOOK_SIGNATURE' => 'v1'], self::BODY, self::TIME],
            ['No signature fits', ['HTTP_WEBHOOK_SIGNATURE' => str_replace('v1', 'v2',
                self::HEADERS['HTTP_WEBHOOK_SIGNATURE'])], self::BODY, self::TIME],
            ['is empty', ['HTTP_WEBHOOK_SIGNATURE' => ''], self::BODY, self::TIME],
            ['not within', [], self::BODY, self::TIME + 301],
            ['not within', [], self::BODY, self::TIME - 301],
            ['no number', ['HTTP_WEBHOOK_TIMESTAMP' => '1731705121x'], self::BODY, self::TIME],
        ];
    }

    public function testMissingHeaderIsRefused(): void
    {
        $this->expectExceptionMessage('webhook-id is missing');
        Delivery::verify(self::BODY, [], self::SECRET);
    }

    /**
     * @testWith [""]
     *           ["whsec_"]
     *           ["whsec_*"]
     *           [[]]
     *           [["", "whsec_bmV3"]]
     */
    public function testSecretThatIsNoneIsAProgrammersError(string|array $secret): void
    {
        $this->expectException(InvalidArgumentException::class);
        Delivery::verify(self::BODY, self::HEADERS, $secret, now: self::TIME);
    }
}
