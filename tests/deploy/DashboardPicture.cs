using System.Globalization;
using System.Net;
using System.Text;

namespace StreamingDaemon.DeployTests;

/// <summary>A series of a panel; the points are seconds since the picture's left edge, and values.</summary>
internal sealed record DrawnSeries(string Name, IReadOnlyList<(double Second, double Value)> Points);

/// <summary>
/// The dashboard as one SVG: Grafana's grid, units, stacking and legends, with the data of a real run. It
/// replaces Grafana if that is unavailable.
/// </summary>
internal sealed class DashboardPicture(double seconds)
{
    private const int Column = 48, Row = 30, Gap = 4;

    // Distinct for the colour-blind too (Okabe and Ito); then darker ones of the same.
    private static readonly string[] s_colours =
    [
        "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#777777",
        "#003f62", "#7f5800", "#005740", "#70435c", "#753400",
    ];

    private readonly StringBuilder _svg = new();

    public string Draw(IReadOnlyList<(Panel Panel, IReadOnlyList<DrawnSeries> Series)> panels)
    {
        var height = panels.Max(p => p.Panel.Y + p.Panel.Height) * Row + Gap;
        Add($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {24 * Column + Gap} {height}\" "
            + "font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">");
        Add("<rect width=\"100%\" height=\"100%\" fill=\"#f4f5f5\"/>");
        foreach (var (panel, series) in panels)
            Draw(panel, series);
        Add("</svg>");
        return _svg.ToString();
    }

    private void Draw(Panel panel, IReadOnlyList<DrawnSeries> series)
    {
        int left = panel.X * Column + Gap, top = panel.Y * Row + Gap;
        int width = panel.Width * Column - Gap, height = panel.Height * Row - Gap;
        Add($"<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"2\" "
            + "fill=\"white\" stroke=\"#ddd\"/>");
        Text(left + 8, top + 17, panel.Title, "font-weight=\"bold\" font-size=\"12\"");
        if (panel.Type == "stat")
        {
            DrawStat(panel, series, left, top, width, height);
        }
        else
        {
            var right = panel.RightAxis is null ? 12 : 50;
            // Two names side by side, if there is room for the longest twice.
            var columns = series.Max(s => LegendText(s, panel.Unit).Length) * 7 + 25 < width / 2 ? 2 : 1;
            var legend = 24 + 15 * ((series.Count + columns - 1) / columns);
            var frame = new Frame(left + 62, top + 28, width - 62 - right, height - 28 - legend);
            DrawLines(panel, series, frame);
            for (var i = 0; i < series.Count; i++)
            {
                Legend(LegendText(series[i], panel.Unit), s_colours[i % s_colours.Length],
                    left + 12 + i % columns * width / 2, frame.Bottom + 32 + 15 * (i / columns));
            }
        }
    }

    private void DrawStat(Panel panel, IReadOnlyList<DrawnSeries> series, int left, int top, int width, int height)
    {
        var only = series.Single();
        // The version panel shows the series' name; the others show their last value.
        var text = only.Name.Length > 0 ? only.Name : Format(only.Points[^1].Value, panel.Unit);
        Text(left + width / 2, top + height / 2 + 12, text,
            "text-anchor=\"middle\" font-size=\"26\" fill=\"#0072b2\"");
        if (only.Name.Length > 0)
            return;
        var frame = new Frame(left, top + height * 2 / 3, width, height / 3);
        Line(only, frame, Top([only], false), s_colours[0], 0.15);
    }

    private void DrawLines(Panel panel, IReadOnlyList<DrawnSeries> series, Frame frame)
    {
        bool OnRight(DrawnSeries one) => panel.RightAxis?.IsMatch(one.Name) == true;
        var top = Top(series.Where(s => !OnRight(s)), panel.Stacked);
        var right = Top(series.Where(OnRight), false);
        for (var tick = 0; tick <= 4; tick++)
        {
            var y = frame.Y(tick / 4.0);
            Add($"<path d=\"M{frame.Left} {F(y)}h{frame.Width}\" stroke=\"#e4e4e4\"/>");
            Text(frame.Left - 5, y + 4, Format(top * tick / 4, panel.Unit), "text-anchor=\"end\" fill=\"#666\"");
            if (panel.RightAxis is not null)
                Text(frame.Left + frame.Width + 5, y + 4, Format(right * tick / 4, panel.Unit), "fill=\"#666\"");
        }

        for (var minute = 0; minute * 60 <= seconds; minute++)
        {
            Text(frame.X(minute * 60 / seconds), frame.Bottom + 14, $"{minute} min",
                $"text-anchor=\"{(minute * 60 < seconds ? "middle" : "end")}\" fill=\"#666\"");
        }

        var below = new Dictionary<double, double>();
        for (var i = 0; i < series.Count; i++)
        {
            var colour = s_colours[i % s_colours.Length];
            if (panel.Stacked)
                Area(series[i], below, frame, top, colour);
            else if (panel.Bars)
                Bars(series[i], frame, top, colour);
            else
                Line(series[i], frame, OnRight(series[i]) ? right : top, colour, 0);
        }
    }

    private static string LegendText(DrawnSeries series, string unit) =>
        $"{series.Name}  {Format(series.Points[^1].Value, unit)}";

    private void Legend(string text, string colour, int x, int y)
    {
        Add($"<rect x=\"{x}\" y=\"{y - 6}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>");
        Text(x + 17, y, text, "");
    }

    private void Line(DrawnSeries series, Frame frame, double top, string colour, double fill)
    {
        var points = string.Join(' ', series.Points.Select(p => Point(p.Second, p.Value, frame, top)));
        Add($"<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{points}\"/>");
        if (fill == 0)
            return;
        var (first, last) = (Point(series.Points[0].Second, 0, frame, top), Point(series.Points[^1].Second, 0, frame, top));
        Add($"<polygon fill=\"{colour}\" fill-opacity=\"{F(fill)}\" points=\"{first} {points} {last}\"/>");
    }

    private void Area(DrawnSeries series, Dictionary<double, double> below, Frame frame, double top, string colour)
    {
        string At(double second) => Point(second, below.GetValueOrDefault(second), frame, top);
        var floor = series.Points.Select(p => At(p.Second)).Reverse().ToList();
        foreach (var (second, value) in series.Points)
            below[second] = below.GetValueOrDefault(second) + value;
        var points = string.Join(' ', series.Points.Select(p => At(p.Second)).Concat(floor));
        Add($"<polygon fill=\"{colour}\" fill-opacity=\"0.55\" stroke=\"{colour}\" points=\"{points}\"/>");
    }

    private void Bars(DrawnSeries series, Frame frame, double top, string colour)
    {
        foreach (var (second, value) in series.Points.Where(p => p.Value > 0))
        {
            Add($"<path d=\"M{F(frame.X(second / seconds))} {frame.Bottom}V{F(frame.Y(value / top))}\" "
                + $"stroke=\"{colour}\" stroke-width=\"3\"/>");
        }
    }

    private string Point(double second, double value, Frame frame, double top) =>
        $"{F(frame.X(second / seconds))},{F(frame.Y(value / top))}";

    /// <summary>End of the axis: the next 1, 2, 4 or 8 times a power of ten, so that a quarter of it is
    /// round.</summary>
    private static double Top(IEnumerable<DrawnSeries> series, bool stacked)
    {
        var points = series.SelectMany(s => s.Points).ToList();
        var most = points.Count == 0 ? 0 : stacked
            ? points.GroupBy(p => p.Second).Max(g => g.Sum(p => p.Value))
            : points.Max(p => p.Value);
        if (most <= 0)
            return 1;
        var power = Math.Pow(10, Math.Floor(Math.Log10(most)));
        return new[] { 1, 2, 4, 8, 10 }.Select(f => f * power).First(t => t >= most * 0.999);
    }

    private static string Format(double value, string unit) => unit switch
    {
        "percentunit" => string.Create(CultureInfo.InvariantCulture, $"{value * 100:0.#} %"),
        "s" => value is < 1 and not 0
            ? string.Create(CultureInfo.InvariantCulture, $"{value * 1000:0.##} ms")
            : string.Create(CultureInfo.InvariantCulture, $"{value:0.##} s"),
        "bytes" => Thousands(value, "B"),
        "Bps" => Thousands(value, "B/s"),
        "reqps" or "wps" => string.Create(CultureInfo.InvariantCulture, $"{value:0.##} /s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{value:0.###}"),
    };

    private static string Thousands(double value, string unit) => value switch
    {
        >= 1e6 => string.Create(CultureInfo.InvariantCulture, $"{value / 1e6:0.##} M{unit}"),
        >= 1e3 => string.Create(CultureInfo.InvariantCulture, $"{value / 1e3:0.##} k{unit}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{value:0.##} {unit}"),
    };

    private void Text(double x, double y, string text, string more) =>
        Add($"<text x=\"{F(x)}\" y=\"{F(y)}\" {more}>{WebUtility.HtmlEncode(text)}</text>");

    private void Add(string line) => _svg.Append(line).Append('\n');

    private static string F(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    /// <summary>Where a panel's data lies; both scales go from 0 to 1.</summary>
    private readonly record struct Frame(int Left, int Top, int Width, int Height)
    {
        public int Bottom => Top + Height;

        public double X(double share) => Left + Width * share;

        public double Y(double share) => Bottom - Height * Math.Clamp(share, 0, 1);
    }
}
