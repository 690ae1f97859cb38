/** Texts of the rating widget, in the languages of locales/. */

import { app } from "../../../scripts/app.js";

const en = {
  title: (profile) => `Images to rate in profile ${profile}`,
  empty: "Run the workflow to rate its images here.",
  image: (position, count, prompt) => `Image ${position} of ${count}${prompt && `: ${prompt}`}`,
  like: (position, count) => `Like image ${position} of ${count}`,
  dislike: (position, count) => `Dislike image ${position} of ${count}`,
  gone: "This image no longer exists. Run the workflow again.",
  counts: (profile, liked, disliked) => `${profile}: ${liked} liked, ${disliked} disliked`,
  needsDislike: "Dislike an image, too. Your taste is learned from pairs.",
  needsLike: "Like an image, too. Your taste is learned from pairs.",
  otherUser: (users, profile) =>
    `Load User History loads "${users}", but these ratings go to "${profile}". To learn from them, choose "${profile}" there.`,
  undo: "Undo",
  undoTip: "Undo the last rating of this profile",
  tookBack: (liked, prompt) => `Removed: ${liked ? "liked" : "disliked"}${prompt && `, ${prompt}`}`,
  notSaved: (count) => (count === 1 ? "One rating is not saved." : `${count} ratings are not saved.`),
  retry: "Try again",
  noAnswer: "ComfyUI does not respond.",
  status: (status) => `ComfyUI responded with status ${status}.`,
};

const zh = {
  title: (profile) => `档案“${profile}”中要评价的图像`,
  empty: "运行工作流后，可在这里评价图像。",
  image: (place, count, prompt) => `第 ${place} 张图像，共 ${count} 张${prompt && `：${prompt}`}`,
  like: (place, count) => `喜欢第 ${place} 张图像（共 ${count} 张）`,
  dislike: (place, count) => `不喜欢第 ${place} 张图像（共 ${count} 张）`,
  gone: "这张图像已不存在。请重新运行工作流。",
  counts: (profile, liked, disliked) => `${profile}：喜欢 ${liked}，不喜欢 ${disliked}`,
  needsDislike: "也请选一张不喜欢的图像。品味是从成对的图像中学到的。",
  needsLike: "也请选一张喜欢的图像。品味是从成对的图像中学到的。",
  otherUser: (users, profile) =>
    `“加载用户历史”加载的是“${users}”，而这些评价存入“${profile}”。要从中学习，请在那里选择“${profile}”。`,
  undo: "撤销",
  undoTip: "撤销此档案的最后一次评价",
  tookBack: (liked, prompt) => `已撤销：${liked ? "喜欢" : "不喜欢"}${prompt && `，${prompt}`}`,
  notSaved: (count) => `有 ${count} 个评价尚未保存。`,
  retry: "重试",
  noAnswer: "ComfyUI 没有响应。",
  status: (status) => `ComfyUI 返回状态 ${status}。`,
};

const ja = {
  title: (profile) => `プロファイル「${profile}」で評価する画像`,
  empty: "ワークフローを実行すると、ここで画像を評価できます。",
  image: (place, count, prompt) => `画像 ${place}/${count}${prompt && `：${prompt}`}`,
  like: (place, count) => `画像 ${place}/${count} が好き`,
  dislike: (place, count) => `画像 ${place}/${count} は好きでない`,
  gone: "この画像はもうありません。ワークフローをもう一度実行してください。",
  counts: (profile, liked, disliked) => `${profile}：好き ${liked}、好きでない ${disliked}`,
  needsDislike: "好きでない画像も選んでください。好みは画像のペアから学習されます。",
  needsLike: "好きな画像も選んでください。好みは画像のペアから学習されます。",
  otherUser: (users, profile) =>
    `「ユーザー履歴を読み込む」は「${users}」を読み込みますが、この評価は「${profile}」に入ります。学習させるには、そちらで「${profile}」を選んでください。`,
  undo: "元に戻す",
  undoTip: "このプロファイルの最後の評価を取り消す",
  tookBack: (liked, prompt) => `取り消しました：${liked ? "好き" : "好きでない"}${prompt && `、${prompt}`}`,
  notSaved: (count) => `${count} 件の評価がまだ保存されていません。`,
  retry: "再試行",
  noAnswer: "ComfyUI が応答しません。",
  status: (status) => `ComfyUI がステータス ${status} を返しました。`,
};

const languages = { en, zh, ja };

/** Returns the texts in ComfyUI's language, or in English. Images are counted from 1. */
export function texts() {
  return languages[app.extensionManager?.setting?.get("Comfy.Locale")] ?? en;
}
