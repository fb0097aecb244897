<?php
// A Symfony application around the controller of docs/php.md (controller.php beside this directory): users by HTTP Basic, with a session.
declare(strict_types=1);

use Symfony\Bundle\FrameworkBundle\FrameworkBundle;
use Symfony\Bundle\FrameworkBundle\Kernel\MicroKernelTrait;
use Symfony\Bundle\SecurityBundle\SecurityBundle;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpKernel\Kernel;
use Symfony\Component\Routing\Loader\Configurator\RoutingConfigurator;
use Symfony\Component\Security\Core\Exception\UserNotFoundException;
use Symfony\Component\Security\Core\User\PasswordAuthenticatedUserInterface;
use Symfony\Component\Security\Core\User\UserInterface;
use Symfony\Component\Security\Core\User\UserProviderInterface;

error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
require 'Symfony/Bundle/FrameworkBundle/autoload.php';
require 'Symfony/Bundle/SecurityBundle/autoload.php';
require __DIR__ . '/../php/autoload.php';
if (!class_exists(Symfony\Component\Routing\Attribute\Route::class)) {
    // Its name before Symfony 6.4.
    class_alias(Symfony\Component\Routing\Annotation\Route::class, Symfony\Component\Routing\Attribute\Route::class);
}
require __DIR__ . '/../controller.php';

final class User implements UserInterface, PasswordAuthenticatedUserInterface
{
    public function __construct(private string $name)
    {
    }

    public function getId(): int
    {
        return 7;
    }

    public function getUserIdentifier(): string
    {
        return $this->name;
    }

    public function getUsername(): string
    {
        return $this->name;
    }

    public function getRoles(): array
    {
        return $this->name === 'ada' ? ['ROLE_USER'] : ['ROLE_GUEST'];
    }

    public function getPassword(): ?string
    {
        return 'secret';
    }

    public function getSalt(): ?string
    {
        return null;
    }

    public function eraseCredentials(): void
    {
    }
}

final class Users implements UserProviderInterface
{
    public function loadUserByIdentifier(string $identifier): UserInterface
    {
        return in_array($identifier, ['ada', 'guest'], true) ? new User($identifier) : throw new UserNotFoundException();
    }

    public function loadUserByUsername(string $username): UserInterface
    {
        return $this->loadUserByIdentifier($username);
    }

    public function refreshUser(UserInterface $user): UserInterface
    {
        return $user;
    }

    public function supportsClass(string $class): bool
    {
        return $class === User::class;
    }
}

final class Site extends Kernel
{
    use MicroKernelTrait;

    public function registerBundles(): iterable
    {
        return [new FrameworkBundle(), new SecurityBundle()];
    }

    public function getProjectDir(): string
    {
        return dirname(__DIR__) . '/sessions';
    }

    protected function configureContainer(ContainerConfigurator $container): void
    {
        $container->extension('framework', [
            'secret' => 'test', 'router' => ['utf8' => true],
            'session' => ['storage_factory_id' => 'session.storage.factory.native', 'handler_id' => null,
                'save_path' => dirname(__DIR__) . '/sessions'],
        ]);
        $container->extension('security', [
            'enable_authenticator_manager' => true,
            'password_hashers' => [User::class => 'plaintext'],
            'providers' => ['users' => ['id' => Users::class]],
            'firewalls' => ['main' => ['http_basic' => null, 'provider' => 'users']],
        ]);
        $container->services()->set(Users::class, Users::class);
        $container->services()->defaults()->autowire()->autoconfigure()
            ->set(ChatController::class, ChatController::class);
    }

    protected function configureRoutes(RoutingConfigurator $routes): void
    {
        $routes->import(dirname(__DIR__) . '/controller.php', 'annotation');
    }
}

$request = Request::create('/chat', $_SERVER['REQUEST_METHOD'], $_POST, $_COOKIE, [], $_SERVER);
$kernel = new Site('prod', false);
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
