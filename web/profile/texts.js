/** Texts of the sidebar tab, in the languages of locales/. */

import { app } from "../../../scripts/app.js";

const en = {
  tab: "My taste",
  tip: "What you liked and disliked (PrefGen)",
  profile: "Profile",
  none: "No ratings yet. Connect your images to Record Preference, run the workflow, and click a thumb up or down.",
  liked: (count) => `Liked (${count})`,
  disliked: (count) => `Disliked (${count})`,
  nothing: { true: "No likes yet.", false: "No dislikes yet. Your taste is learned from pairs of both." },
  more: "Show more",
  image: (liked, prompt) => `${liked ? "Liked" : "Disliked"}${prompt && `: ${prompt}`}`,
  turn: (liked) => (liked ? "Change to disliked" : "Change to liked"),
  forget: "Delete this image",
  undo: "Undo",
  export: "Export",
  import: "Import",
  forgetAll: "Delete profile",
  sureImage: "Delete this image and its ratings? This cannot be undone.",
  sureAll: (name) => `Delete the profile ${name} with all its images and ratings? This cannot be undone.`,
  imported: (ratings, known) => `Added ${ratings} ratings. ${known} existed already.`,
  shown: "Picture of the last Show User Profile",
  hint: "Run Show User Profile with a preference model to see how well it predicts your taste, and who has a similar one.",
};

const zh = {
  tab: "我的品味",
  tip: "你喜欢和不喜欢的图像（PrefGen）",
  profile: "档案",
  none: "还没有任何评价。把图像连接到“记录偏好”，运行工作流，然后点赞或点踩。",
  liked: (count) => `喜欢（${count}）`,
  disliked: (count) => `不喜欢（${count}）`,
  nothing: { true: "还没有喜欢的图像。", false: "还没有不喜欢的图像。品味是从成对的图像中学到的。" },
  more: "显示更多",
  image: (liked, prompt) => `${liked ? "喜欢" : "不喜欢"}${prompt && `：${prompt}`}`,
  turn: (liked) => (liked ? "改为不喜欢" : "改为喜欢"),
  forget: "删除这张图像",
  undo: "撤销",
  export: "导出",
  import: "导入",
  forgetAll: "删除档案",
  sureImage: "删除这张图像和它的评价？此操作无法撤销。",
  sureAll: (name) => `删除档案“${name}”及其所有图像和评价？此操作无法撤销。`,
  imported: (ratings, known) => `新增 ${ratings} 个评价，${known} 个已存在。`,
  shown: "上一次“显示用户档案”的图片",
  hint: "连接偏好模型并运行“显示用户档案”，可看到它预测你的品味有多准，以及谁的品味与你相近。",
};

const ja = {
  tab: "私の好み",
  tip: "好きな画像と好きでない画像（PrefGen）",
  profile: "プロファイル",
  none: "まだ評価がありません。画像を「選好を記録」につないで実行し、好き・好きでないを選んでください。",
  liked: (count) => `好き（${count}）`,
  disliked: (count) => `好きでない（${count}）`,
  nothing: { true: "好きな画像はまだありません。", false: "好きでない画像はまだありません。好みは画像のペアから学習されます。" },
  more: "もっと見る",
  image: (liked, prompt) => `${liked ? "好き" : "好きでない"}${prompt && `：${prompt}`}`,
  turn: (liked) => (liked ? "好きでないに変える" : "好きに変える"),
  forget: "この画像を削除",
  undo: "元に戻す",
  export: "書き出す",
  import: "読み込む",
  forgetAll: "プロファイルを削除",
  sureImage: "この画像とその評価を削除しますか？元に戻せません。",
  sureAll: (name) => `プロファイル「${name}」とそのすべての画像と評価を削除しますか？元に戻せません。`,
  imported: (ratings, known) => `新しい評価は ${ratings} 件、既にあったものは ${known} 件です。`,
  shown: "前回の「ユーザープロファイルを表示」の画像",
  hint: "選好モデルをつないで「ユーザープロファイルを表示」を実行すると、好みがどれだけ正しく予測されるか、誰の好みが近いかが分かります。",
};

const languages = { en, zh, ja };

/** Returns the texts in ComfyUI's language, or in English. */
export function texts() {
  return languages[app.extensionManager?.setting?.get("Comfy.Locale")] ?? en;
}
