package org.peft4j.report;

import static org.peft4j.report.ReportText.capitalised;
import static org.peft4j.report.ReportText.setting;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.peft4j.run.files.RunFiles;

/** The report's tables of settings, machine and versions. */
final class ReportSettings {
    private static final String TYPE = "type";

    private final RunFiles files;
    private final Html page;

    ReportSettings(RunFiles files, Html page) {
        this.files = files;
        this.page = page;
    }

    void add() {
        JsonNode settings = files.run.path("settings");
        page.add("<h2>Settings</h2>").add("<div class=\"columns\">");
        List<Map.Entry<String, JsonNode>> general = new ArrayList<>();
        settings.properties().forEach(entry -> {
            if (!entry.getValue().isObject()) {
                general.add(entry);
            }
        });
        facts("Run", general);
        settings.properties().forEach(entry -> {
            if (entry.getValue().isObject()) {
                String name = entry.getKey();
                facts(capitalised(name), entries(entry.getValue()));
            }
        });
        List<Map.Entry<String, JsonNode>> machine = new ArrayList<>(entries(files.run.path("machine")));
        machine.add(Map.entry("compute", files.run.path("compute")));
        machine.addAll(entries(files.run.path("versions")));
        facts("Machine and versions", machine);
        page.add("</div>");
    }

    private static List<Map.Entry<String, JsonNode>> entries(JsonNode object) {
        List<Map.Entry<String, JsonNode>> entries = new ArrayList<>();
        for (Map.Entry<String, JsonNode> entry : object.properties()) {
            JsonNode value = entry.getValue();
            if (value.has(TYPE)) { // a part that has a name of its own: optimizer: adamw, then its settings
                entries.add(Map.entry(entry.getKey(), value.path(TYPE)));
                value.properties().stream()
                        .filter(part ->
                                !part.getKey().equals(TYPE) && !part.getValue().isNull())
                        .forEach(entries::add);
            } else {
                entries.add(entry);
            }
        }
        return entries;
    }

    private void facts(String title, List<Map.Entry<String, JsonNode>> entries) {
        page.add("<div class=\"panel\"><h3>%s</h3>", title).add("<table class=\"facts\">");
        for (Map.Entry<String, JsonNode> entry : entries) {
            page.add(
                    "<tr><th scope=\"row\">%s</th><td>%s</td></tr>",
                    entry.getKey().replace('_', ' '), setting(entry.getKey(), entry.getValue()));
        }
        page.add("</table></div>");
    }
}
