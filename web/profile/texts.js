/** What the tab says, in the languages of the pack's node texts (locales/). */

import { app } from "../../../scripts/app.js";

const en = {
  tab: "My taste",
  tip: "What you liked and disliked (PrefGen)",
  profile: "Profile",
  none: "Nothing is rated yet. Add Record Preference behind your images, run, and give them a thumb up or down.",
  liked: (count) => `Liked (${count})`,
  disliked: (count) => `Disliked (${count})`,
  nothing: { true: "Nothing liked yet.", false: "Nothing disliked yet: a taste is read from pairs of both." },
  more: "Show more",
  image: (liked, prompt) => `${liked ? "Liked" : "Disliked"}${prompt && `: ${prompt}`}`,
  turn: (liked) => (liked ? "Dislike it instead" : "Like it instead"),
  forget: "Forget this image for good",
  undo: "Undo",
  export: "Export",
  import: "Import",
  forgetAll: "Forget all",
  sureImage: "Forget this image? Its file and every rating of it are removed for good.",
  sureAll: (name) => `Forget the profile ${name}? All its images and ratings are removed for good.`,
  imported: (ratings, known) => `${ratings} ratings are new, ${known} were there.`,
  shown: "The last Show User Profile",
  hint: "Run Show User Profile with a preference model to see how well your taste is guessed, and who is alike.",
};

const zh = {
  tab: "我的品味",
  tip: "你喜欢和不喜欢的图像（PrefGen）",
  profile: "档案",
  none: "还没有任何评价。在图像之后添加“记录偏好”，运行，然后点赞或点踩。",
  liked: (count) => `喜欢（${count}）`,
  disliked: (count) => `不喜欢（${count}）`,
  nothing: { true: "还没有喜欢的图像。", false: "还没有不喜欢的图像：品味要从成对的图像中读出。" },
  more: "显示更多",
  image: (liked, prompt) => `${liked ? "喜欢" : "不喜欢"}${prompt && `：${prompt}`}`,
  turn: (liked) => (liked ? "改为不喜欢" : "改为喜欢"),
  forget: "永久忘记这张图像",
  undo: "撤销",
  export: "导出",
  import: "导入",
  forgetAll: "全部忘记",
  sureImage: "忘记这张图像？它的文件和所有评价都会被永久删除。",
  sureAll: (name) => `忘记档案“${name}”？它的所有图像和评价都会被永久删除。`,
  imported: (ratings, known) => `新增 ${ratings} 个评价，${known} 个已存在。`,
  shown: "上一次“显示用户档案”",
  hint: "连接偏好模型并运行“显示用户档案”，可看到你的品味被猜得多准，以及谁与你相似。",
};

const ja = {
  tab: "私の好み",
  tip: "好きな画像と好きでない画像（PrefGen）",
  profile: "プロファイル",
  none: "まだ評価がありません。画像の後ろに「選好を記録」を追加して実行し、好き・好きでないを選んでください。",
  liked: (count) => `好き（${count}）`,
  disliked: (count) => `好きでない（${count}）`,
  nothing: { true: "好きな画像はまだありません。", false: "好きでない画像はまだありません。好みは画像のペアから読み取られます。" },
  more: "もっと見る",
  image: (liked, prompt) => `${liked ? "好き" : "好きでない"}${prompt && `：${prompt}`}`,
  turn: (liked) => (liked ? "好きでないに変える" : "好きに変える"),
  forget: "この画像を完全に忘れる",
  undo: "元に戻す",
  export: "書き出す",
  import: "読み込む",
  forgetAll: "すべて忘れる",
  sureImage: "この画像を忘れますか？ファイルとすべての評価が完全に削除されます。",
  sureAll: (name) => `プロファイル「${name}」を忘れますか？すべての画像と評価が完全に削除されます。`,
  imported: (ratings, known) => `新しい評価は ${ratings} 件、既にあったものは ${known} 件です。`,
  shown: "前回の「ユーザープロファイルを表示」",
  hint: "選好モデルをつないで「ユーザープロファイルを表示」を実行すると、好みがどれだけ当てられるか、誰と似ているかが分かります。",
};

const languages = { en, zh, ja };

/** The texts in ComfyUI's language; English where there are none. */
export function texts() {
  return languages[app.extensionManager?.setting?.get("Comfy.Locale")] ?? en;
}
