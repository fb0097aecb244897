using System.Reflection;

namespace StreamingDaemon.DocsTests;

/// <summary>A test, or its set-up, runs this command of this page unchanged.</summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class, AllowMultiple = true)]
internal sealed class RunsAttribute(string page, string name) : Attribute
{
    public string Page => page;

    public string Name => name;

    /// <summary>The claims of all these tests.</summary>
    public static IEnumerable<(string Page, string Name)> OfAll() =>
        from type in typeof(RunsAttribute).Assembly.GetTypes()
        from member in type.GetMethods(BindingFlags.Public | BindingFlags.Instance).Cast<MemberInfo>().Prepend(type)
        from claim in member.GetCustomAttributes<RunsAttribute>(inherit: false)
        select (claim.Page, claim.Name);
}
