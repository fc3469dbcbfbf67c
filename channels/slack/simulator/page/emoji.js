// The emoji names that a chat-ops bot is likely to use. An unknown name is shown as it was written.

const EMOJI = {
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", no_entry: "⛔", no_entry_sign: "🚫", warning: "⚠️",
  rotating_light: "🚨", hourglass: "⌛", hourglass_flowing_sand: "⏳", stopwatch: "⏱️", alarm_clock: "⏰", clock1: "🕐",
  rocket: "🚀", tada: "🎉", eyes: "👀", wave: "👋", "+1": "👍", thumbsup: "👍", "-1": "👎", thumbsdown: "👎",
  pray: "🙏", raised_hands: "🙌", ok_hand: "👌", question: "❓", grey_question: "❔", exclamation: "❗",
  information_source: "ℹ️", bulb: "💡", lock: "🔒", unlock: "🔓", key: "🔑", bell: "🔔", no_bell: "🔕",
  robot_face: "🤖", gear: "⚙️", wrench: "🔧", hammer: "🔨", hammer_and_wrench: "🛠️", package: "📦", label: "🏷️",
  memo: "📝", page_facing_up: "📄", clipboard: "📋", bar_chart: "📊", chart_with_upwards_trend: "📈", mag: "🔍",
  link: "🔗", email: "✉️", telephone_receiver: "📞", speech_balloon: "💬", thought_balloon: "💭", bust_in_silhouette: "👤",
  fire: "🔥", bug: "🐛", sparkles: "✨", star: "⭐", zap: "⚡", boom: "💥", skull: "💀", heart: "❤️",
  smile: "😄", slightly_smiling_face: "🙂", thinking_face: "🤔", sweat_smile: "😅", grimacing: "😬", cry: "😢",
  arrow_right: "➡️", arrow_left: "⬅️", arrow_up: "⬆️", arrow_down: "⬇️", rewind: "⏪", leftwards_arrow_with_hook: "↩️",
  arrows_counterclockwise: "🔄", repeat: "🔁", double_vertical_bar: "⏸️", arrow_forward: "▶️", stop_sign: "🛑",
  octagonal_sign: "🛑", large_green_circle: "🟢", large_yellow_circle: "🟡", red_circle: "🔴", white_circle: "⚪",
  large_blue_circle: "🔵", black_circle: "⚫", construction: "🚧", shield: "🛡️", calendar: "📅", pushpin: "📌",
  electric_plug: "🔌", coffee: "☕", one: "1️⃣", two: "2️⃣", three: "3️⃣", traffic_light: "🚦",
};

/** The character for an emoji's name, or `:name:` when there is none here. */
export function emoji(name) {
  return EMOJI[name] ?? `:${name}:`;
}
