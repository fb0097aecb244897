using System.Globalization;
using System.Net;
using System.Text;

namespace StreamingDaemon.Bench.Report;

/// <summary>A line of a plot.</summary>
internal sealed record PlotSeries(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>How a plot's values are placed along one of its sides.</summary>
/// <param name="Title">With the unit.</param>
/// <param name="Place">From a value to its position; the identity or a logarithm.</param>
/// <param name="Ticks">Marked values, with their text.</param>
internal sealed record PlotAxis(
    string Title, Func<double, double> Place, IReadOnlyList<(double Value, string Text)> Ticks)
{
    private static readonly double[] s_steps = [1, 2, 5, 10];

    /// <summary>From zero to at least <paramref name="most"/>, in steps of 1, 2 or 5.</summary>
    public static PlotAxis Linear(string title, double most)
    {
        var step = NiceStep(Math.Max(most, 1e-9) / 5);
        var count = (int)Math.Ceiling(most / step - 1e-9);
        return new PlotAxis(title, v => v,
            [.. Enumerable.Range(0, Math.Max(count, 1) + 1).Select(i => (i * step, Text(i * step)))]);
    }

    /// <summary>Powers of ten around the values; a value below the least is drawn on it.</summary>
    public static PlotAxis Logarithmic(string title, double least, double most)
    {
        var from = (int)Math.Floor(Math.Log10(Math.Max(least, 1e-3)));
        var to = Math.Max(from + 1, (int)Math.Ceiling(Math.Log10(Math.Max(most, 1e-3))));
        return new PlotAxis(title, v => Math.Log10(Math.Max(v, Math.Pow(10, from))),
            [.. Enumerable.Range(from, to - from + 1).Select(p => (Math.Pow(10, p), Text(Math.Pow(10, p))))]);
    }

    /// <summary>Percentiles, the last ones spread out to show the tail of a distribution.</summary>
    public static PlotAxis Percentiles { get; } = new("percentile",
        p => -Math.Log10(1 - Math.Min(p, 99.999) / 100),
        [(0, "0"), (50, "50"), (90, "90"), (99, "99"), (99.9, "99.9"), (99.99, "99.99")]);

    private static double NiceStep(double least)
    {
        var power = Math.Pow(10, Math.Floor(Math.Log10(least)));
        return s_steps.Select(f => f * power).First(s => s >= least * (1 - 1e-9));
    }

    private static string Text(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);
}

/// <summary>Lines over two axes, as a separate SVG file.</summary>
internal sealed class SvgPlot(string title, PlotAxis x, PlotAxis y, IReadOnlyList<PlotSeries> series)
{
    private const int Width = 860, Height = 460, Left = 70, Right = 230, Top = 40, Bottom = 50;

    // Distinct for the colour-blind too (Okabe and Ito).
    private static readonly string[] s_colours =
        ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

    private readonly StringBuilder _svg = new();

    public void Write(string path) => File.WriteAllText(path, Draw());

    public string Draw()
    {
        _svg.Clear();
        Add($"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{Width}\" height=\"{Height}\" "
            + $"viewBox=\"0 0 {Width} {Height}\" font-family=\"sans-serif\" font-size=\"12\">");
        Add($"<rect width=\"{Width}\" height=\"{Height}\" fill=\"white\"/>");
        Label(Left, 22, title, "start", "font-size=\"15\"");
        DrawAxes();
        for (var i = 0; i < series.Count; i++)
            DrawSeries(series[i], s_colours[i % s_colours.Length], i);
        Add("</svg>");
        return _svg.ToString();
    }

    private void DrawAxes()
    {
        foreach (var (value, text) in x.Ticks)
        {
            var at = AtX(value);
            Line(at, Top, at, Height - Bottom, "#ddd");
            Label(at, Height - Bottom + 16, text, "middle");
        }

        foreach (var (value, text) in y.Ticks)
        {
            var at = AtY(value);
            Line(Left, at, Width - Right, at, "#ddd");
            Label(Left - 6, at + 4, text, "end");
        }

        Line(Left, Height - Bottom, Width - Right, Height - Bottom, "#333");
        Line(Left, Top, Left, Height - Bottom, "#333");
        Label((Left + Width - Right) / 2.0, Height - 12, x.Title, "middle");
        var middle = (Top + Height - Bottom) / 2;
        Label(16, middle, y.Title, "middle", $"transform=\"rotate(-90 16 {middle})\"");
    }

    private void DrawSeries(PlotSeries line, string colour, int index)
    {
        var points = string.Join(' ', line.Points.Select(p => string.Create(
            CultureInfo.InvariantCulture, $"{AtX(p.X):0.#},{AtY(p.Y):0.#}")));
        Add($"<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{points}\"/>");
        var at = Top + 8 + 18 * index;
        Line(Width - Right + 12, at, Width - Right + 34, at, colour);
        Label(Width - Right + 40, at + 4, line.Name, "start");
    }

    private double AtX(double value) => Left + (Width - Left - Right) * Share(x, value);

    private double AtY(double value) => Height - Bottom - (Height - Top - Bottom) * Share(y, value);

    private static double Share(PlotAxis axis, double value)
    {
        var from = axis.Place(axis.Ticks[0].Value);
        var to = axis.Place(axis.Ticks[^1].Value);
        return Math.Clamp((axis.Place(value) - from) / (to - from), 0, 1);
    }

    private void Line(double x1, double y1, double x2, double y2, string colour) =>
        Add(string.Create(CultureInfo.InvariantCulture,
            $"<line x1=\"{x1:0.#}\" y1=\"{y1:0.#}\" x2=\"{x2:0.#}\" y2=\"{y2:0.#}\" stroke=\"{colour}\"/>"));

    private void Label(double atX, double atY, string text, string anchor, string more = "") =>
        Add(string.Create(CultureInfo.InvariantCulture,
            $"<text x=\"{atX:0.#}\" y=\"{atY:0.#}\" text-anchor=\"{anchor}\" {more}>")
            + $"{WebUtility.HtmlEncode(text)}</text>");

    private void Add(string line) => _svg.Append(line).Append('\n');
}
