<?php
// A Laravel application around the route of docs/php.md (route.php beside this directory): the middleware of its group "web", and who sends
// the header X-User is signed in.
declare(strict_types=1);

namespace App;

use Illuminate\Auth\GenericUser;
use Illuminate\Auth\Middleware\Authenticate;
use Illuminate\Contracts\Console\Kernel as ConsoleKernel;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Http\Kernel as HttpKernel;
use Illuminate\Cookie\Middleware\AddQueuedCookiesToResponse;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Exceptions\Handler;
use Illuminate\Foundation\Http\Kernel;
use Illuminate\Foundation\Http\Middleware\VerifyCsrfToken;
use Illuminate\Foundation\Providers\FoundationServiceProvider;
use Illuminate\Hashing\HashServiceProvider;
use Illuminate\Http\Request;
use Illuminate\Routing\Middleware\SubstituteBindings;
use Illuminate\Session\Middleware\StartSession;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Route;
use Illuminate\Support\ServiceProvider;

error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
require 'Illuminate/autoload.php';
require __DIR__ . '/../php/autoload.php';

final class Http extends Kernel
{
    protected $middlewareGroups = ['web' => [
        EncryptCookies::class, AddQueuedCookiesToResponse::class, StartSession::class, VerifyCsrfToken::class,
        SubstituteBindings::class,
    ]];

    protected $routeMiddleware = ['auth' => Authenticate::class];
}

final class Site extends ServiceProvider
{
    public function boot(): void
    {
        Auth::viaRequest('header', static fn (Request $request): ?GenericUser =>
            $request->header('X-User') === null ? null : new GenericUser(['id' => (int) $request->header('X-User')]));
        Route::middleware('web')->group(static function (): void {
            Route::get('/token', static fn (): string => csrf_token());
            require __DIR__ . '/../route.php';
        });
    }
}

$base = dirname(__DIR__) . '/sessions/laravel';
foreach (['/bootstrap/cache', '/config', '/storage/framework/sessions', '/storage/framework/views', '/storage/logs'] as $directory) {
    is_dir($base . $directory) || mkdir($base . $directory, 0700, true);
}
$providers = array_map(static fn (string $name): string => "Illuminate\\$name\\{$name}ServiceProvider",
    ['Auth', 'Cache', 'Cookie', 'Encryption', 'Filesystem', 'Session', 'Translation', 'Validation', 'View']);
array_push($providers, HashServiceProvider::class, FoundationServiceProvider::class, Site::class);
file_put_contents("$base/config/app.php", '<?php return ' . var_export([
    'name' => 'test', 'env' => 'production', 'debug' => false, 'url' => 'http://localhost', 'timezone' => 'UTC', 'locale' => 'en',
    'key' => str_repeat('k', 32), 'cipher' => 'AES-256-CBC', 'providers' => $providers, 'aliases' => [],
], true) . ';');
foreach ([
    'auth' => ['defaults' => ['guard' => 'web'], 'guards' => ['web' => ['driver' => 'header']]],
    'session' => ['driver' => 'file', 'files' => "$base/storage/framework/sessions", 'lifetime' => 60, 'expire_on_close' => false,
        'encrypt' => false, 'lottery' => [0, 1], 'cookie' => 'laravel_session', 'path' => '/', 'domain' => null, 'secure' => false,
        'http_only' => true, 'same_site' => 'lax', 'connection' => null, 'table' => 'sessions', 'store' => null],
    'view' => ['paths' => [], 'compiled' => "$base/storage/framework/views"],
    'cache' => ['default' => 'array', 'stores' => ['array' => ['driver' => 'array']]],
    'logging' => ['default' => 'none', 'channels' => ['none' => ['driver' => 'monolog', 'handler' => \Monolog\Handler\NullHandler::class]]],
] as $name => $settings) {
    file_put_contents("$base/config/$name.php", '<?php return ' . var_export($settings, true) . ';');
}

$app = new Application($base);
$app->singleton(HttpKernel::class, Http::class);
$app->singleton(ConsoleKernel::class, \Illuminate\Foundation\Console\Kernel::class);
$app->singleton(ExceptionHandler::class, Handler::class);
$kernel = $app->make(HttpKernel::class);
// The address within the application: it stands behind the script's name.
$request = Request::create($_SERVER['PATH_INFO'] ?? '/', $_SERVER['REQUEST_METHOD'], $_POST, $_COOKIE, [], $_SERVER);
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
